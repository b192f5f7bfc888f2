"""Prompts are files in `prompts/`; a missing variable is an error. A brief goes to the model as one fenced JSON block."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

from pydantic import BaseModel

from .ports import Message

FOLDER = Path(__file__).with_name("prompts")


def render(name: str, **values: object) -> str:
    """The prompt's text. Raises KeyError for a variable without a value."""
    return Template(_text(name)).substitute({key: str(value) for key, value in values.items()})


def told(heading: str, brief: BaseModel) -> Message:
    """The user's message: a heading, and the brief without what is empty."""
    said = {name: value for name, value in brief.model_dump(mode="json").items() if value not in ("", [], {}, None)}
    return Message("user", f"{heading}\n\n```json\n{json.dumps(said, indent=1, ensure_ascii=False)}\n```")


def schema_of(contract: type[BaseModel]) -> dict[str, Any]:
    return contract.model_json_schema()


def schema_text(contract: type[BaseModel]) -> str:
    return json.dumps(schema_of(contract), separators=(",", ":"))


@cache
def _text(name: str) -> str:
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8")

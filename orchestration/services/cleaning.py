"""What people type, checked: refused with a sentence that says what is wrong and what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings

from agents.text import storable_json

from ..errors import BadInput

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
MOST_CHECKS = 20


def clean_text(text: object) -> str:
    if not isinstance(text, str) or not text.strip():
        raise BadInput("the goal is empty: say in a sentence what is to be achieved")
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > settings.GOAL_TEXT_MAX_BYTES:
        raise BadInput(
            f"the goal has {size} bytes, the limit is {settings.GOAL_TEXT_MAX_BYTES} (GOAL_TEXT_MAX_BYTES): "
            "put long material into a file of the repository and name it"
        )
    return printable(text.strip(), "the goal")


def clean_line(text: str, what: str, longest: int) -> str:
    text = printable(str(text or "").strip(), what)
    if len(text) > longest or "\n" in text:
        raise BadInput(f"{what} is too long or has several lines: at most {longest} characters in one line")
    return text


def clean_checks(checks: Sequence[str]) -> tuple[str, ...]:
    if isinstance(checks, str) or not all(isinstance(check, str) for check in checks):
        raise BadInput('checks are a list of commands, for example ["python3 -m unittest"]')
    if len(checks) > MOST_CHECKS:
        raise BadInput(f"{len(checks)} checks are too many, the limit is {MOST_CHECKS}: put them into one script")
    cleaned = [printable(check.strip(), "a check") for check in checks]
    if not all(cleaned) or any(len(check) > 2000 for check in cleaned):
        raise BadInput("a check is a command of 1 to 2000 characters; its exit code 0 means passed")
    return tuple(dict.fromkeys(cleaned))


def clean_hidden(hidden: Sequence[str], *, beside: Sequence[str]) -> tuple[str, ...]:
    """The checks that only the reviewer is told. One that is given openly as well hides nothing."""
    cleaned = clean_checks(hidden)
    if shown_too := [check for check in cleaned if check in clean_checks(beside)]:
        raise BadInput(f"the check {shown_too[0]!r} is given openly and as a hidden one: decide for one of them")
    return cleaned


def clean_context(context: Mapping[str, Any] | None) -> dict[str, Any]:
    if context is None:
        return {}
    try:
        text = json.dumps(dict(context), allow_nan=False)
        value = dict(json.loads(text))
        is_storable = storable_json(value) == value
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(f"the context must be a JSON object: {error}") from error
    if len(text) > settings.GOAL_TEXT_MAX_BYTES:
        raise BadInput(f"the context has {len(text)} bytes as JSON, the limit is {settings.GOAL_TEXT_MAX_BYTES}")
    if not is_storable:
        raise BadInput("the context holds a NUL character or half of a character: remove it")
    return value


def printable(text: str, what: str) -> str:
    if found := CONTROL.search(text):
        raise BadInput(f"{what} holds the control character {found.group()!r} at position {found.start()}: remove it")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"{what} is not valid text (position {error.start})") from error
    return text


def shown(value: object) -> str:
    return repr(str(value)[:200])

"""PURE: the shapes of a service's answers, checked strictly. A field that is missing or of another type is named, never guessed."""

from __future__ import annotations

import base64
import json
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from ...errors import Permanent, Transient
from .transport import Answer


class ContractError(Permanent):
    """The service answers in another shape than agreed: another version, or no locale2b at all."""


class Shape(BaseModel):
    """What else is in an answer is left alone."""

    model_config = ConfigDict(strict=True, frozen=True)


class Health(Shape):
    status: str
    version: str
    active_sandboxes: int
    max_sandboxes: int
    memory_available_mb: int


class Capacity(Shape):
    active_sandboxes: int
    max_sandboxes: int
    memory_available_mb: int
    can_create_default: bool


class Machine(Shape):
    sandbox_id: str
    status: str
    workspace_id: str
    created_at: str
    memory_mb: int


class Ran(Shape):
    success: bool
    exit_code: int
    stdout: str
    stderr: str
    error: str | None


class Destroyed(Shape):
    status: str
    sandbox_id: str


class Uploaded(Shape):
    path: str
    size: int


class FileRead(Shape):
    success: bool
    content: str | None = None
    error: str | None = None

    def data(self) -> bytes:
        """Raises ValueError where it is not base64."""
        return base64.b64decode(self.content or "", validate=True)


T = TypeVar("T")


def understood(shape: type[T], answer: Answer, service: str) -> T:
    """The answer as its shape. Raises Transient for what is not whole JSON, ContractError for JSON of another shape."""
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError):
        what = answer.headers.get("content-type", "").split(";")[0] or "something"
        raise Transient(
            f"the sandbox service {service} sent {what} that is not whole JSON; what answers there? (manage.py check_sandbox)"
        ) from None
    try:
        return TypeAdapter(shape).validate_python(value)
    except ValidationError as error:
        raise ContractError(
            f"the sandbox service {service} does not keep the contract: {told(error)}. Which version is it? (manage.py check_sandbox)"
        ) from None


def told(error: ValidationError) -> str:
    """The first field that does not fit, and why."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "the answer"
    return f"{place}: {first['msg'].lower()}"


def detail_of(answer: Answer) -> str:
    """The service's own words: a text, or for 422 a list; short and printable."""
    try:
        value = json.loads(answer.body)
        detail = value["detail"] if isinstance(value, dict) and "detail" in value else value
    except (ValueError, RecursionError):
        detail = answer.body[:300].decode("utf-8", "replace")
    text = detail if isinstance(detail, str) else json.dumps(detail)
    return "".join(char if char.isprintable() else " " for char in text)[:300].strip()

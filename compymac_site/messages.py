"""PURE: is this a task's message as our own publishers write it? What Redis holds may have been written by anybody.

Celery trusts the form of a message, and some odd ones cost it the place in which it would have worked them: so the form is checked
before Celery sees it. What it names (a task, a run) is checked later, by whoever knows it.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError, field_validator

LARGEST = 8 * 1024 * 1024  # bytes of a body; ours have a hundred, a person's own `.delay()` may bring a text
LATEST = timedelta(
    days=1
)  # nothing of ours waits in a worker's memory (`not_before` is a column); a person's countdown may

Word = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00]*$")]
Said = Annotated[str, Field(max_length=LARGEST)]


class Strict(BaseModel, strict=True):
    pass


class Headers(Strict):
    """Celery's, version 2. Others may be there."""

    task: Word
    id: Word
    root_id: Word | None = None
    parent_id: Word | None = None
    group: Word | None = None
    group_index: int | None = None
    shadow: Word | None = None
    eta: Word | None = None
    expires: Word | None = None
    retries: Annotated[int, Field(ge=0, le=1000)] | None = 0
    timelimit: Annotated[list[float | None], Field(min_length=2, max_length=2)] | None = None
    argsrepr: Said | None = None
    kwargsrepr: Said | None = None
    origin: Word | None = None
    ignore_result: bool | None = False
    replaced_task_nesting: Annotated[int, Field(ge=0, le=1000)] | None = 0
    stamped_headers: None = None
    stamps: Annotated[dict[str, Any], Field(max_length=0)] | None = None
    compression: None = None

    @field_validator("eta")
    @classmethod
    def is_soon(cls, eta: str | None) -> str | None:
        if eta is not None:
            at = datetime.fromisoformat(eta)
            if (at if at.tzinfo else at.replace(tzinfo=UTC)) > datetime.now(UTC) + LATEST:
                raise ValueError("more than a day ahead")
        return eta


class DeliveryInfo(Strict):
    exchange: str
    routing_key: str


class Properties(Strict):
    delivery_tag: Word
    delivery_info: DeliveryInfo
    body_encoding: Literal["base64"]
    correlation_id: Word | None = None
    reply_to: Word | None = None
    priority: int | None = None


class Message(BaseModel, strict=True):
    body: Said
    content_type: Literal["application/json"] = Field(alias="content-type")
    content_encoding: Literal["utf-8"] = Field(alias="content-encoding")
    headers: Headers
    properties: Properties


class Embedded(Strict):
    """What a message may bring to be done afterwards: nothing, there is no canvas here."""

    callbacks: None = None
    errbacks: None = None
    chain: None = None
    chord: None = None


BODY: TypeAdapter[Any] = TypeAdapter(tuple[list[Any], dict[str, Any], Embedded])


def trouble_with(message: Any) -> str:
    """What is wrong with it, in a few words without anything of its content; empty for a message that may be worked."""
    try:
        text = base64.b64decode(Message.model_validate(message).body, validate=True)
        BODY.validate_python(tuple(json.loads(text)), strict=True)
    except ValidationError as error:
        first = error.errors(include_input=False, include_context=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])[:80]
        return f"{place}: {first['type']}"
    except (ValueError, TypeError, RecursionError) as error:
        return f"body: {type(error).__name__}"
    return ""

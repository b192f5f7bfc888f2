"""How each kind of endpoint is documented: its answers, its headers. The problems of all of them are added by `schema`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_serializer,
    inline_serializer,
)
from rest_framework import serializers

from .pagination import Pages
from .serializers.records import EventOut

Decorator = Callable[[Any], Any]
KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 120, "pattern": "^[!-~]+$"},
    OpenApiParameter.HEADER,
    description="A value of your own for this wish, for example a UUID: sent again within 24 hours, the request acts once.",
)
IF_NONE_MATCH = OpenApiParameter("If-None-Match", str, OpenApiParameter.HEADER, description="An ETag that you have.")


def _header(name: str, status: int, description: str, kind: Any = str) -> OpenApiParameter:
    return OpenApiParameter(name, kind, OpenApiParameter.HEADER, response=[status], description=description)


def _repeatable(status: int) -> list[OpenApiParameter]:
    replayed = _header("Idempotency-Replayed", status, "`true`: the answer of an earlier request with this key.")
    return [KEY, _header("Location", status, "Where to look.", OpenApiTypes.URI_REF), replayed]


def queues(asked: Any, answered: Any, summary: str, *, creates: bool = False) -> Decorator:
    """202: the goal is accepted, and workers do the rest."""
    wait = _header("Retry-After", 202, "Seconds after which a look is worth it.", int)
    what = "The new goal." if creates else "The goal as it is now."
    return extend_schema(
        summary=summary,
        request=asked,
        responses={202: OpenApiResponse(answered, what)},
        parameters=[*_repeatable(202), wait],
    )


def creates(asked: Any, answered: Any, summary: str) -> Decorator:
    return extend_schema(summary=summary, request=asked, responses={201: answered}, parameters=_repeatable(201))


def changes(asked: Any, answered: Any, summary: str) -> Decorator:
    return extend_schema(summary=summary, request=asked, responses={200: answered})


def removes(summary: str) -> Decorator:
    return extend_schema(summary=summary, request=None, responses={204: OpenApiResponse(description="It is gone.")})


def download(media_type: str, summary: str) -> Decorator:
    headers = [
        _header("ETag", 200, "The sha256 of the bytes, in quotes."),
        _header("Repr-Digest", 200, "The sha256 of the bytes, as RFC 9530 writes it."),
        _header("Content-Disposition", 200, "attachment, with a file name."),
    ]
    return extend_schema(
        summary=summary,
        filters=False,
        responses={
            (200, media_type): OpenApiTypes.BINARY,
            304: OpenApiResponse(description="You have them already."),
        },
        parameters=[IF_NONE_MATCH, *headers],
    )


def page_of(shape: Any, name: str = "") -> Any:
    """What `pagination` makes of a list, where drf-spectacular cannot see that it does."""
    link = serializers.URLField(allow_null=True)
    page: Any = inline_serializer(
        name or f"Paginated{shape.__name__}List", {"next": link, "previous": link, "results": shape(many=True)}
    )
    return extend_schema_serializer(many=False)(page)


def one_page(shape: Any, summary: str) -> Decorator:
    return extend_schema(summary=summary, filters=False, responses=page_of(shape))


def pages(shape: Any, summary: str) -> Decorator:
    """A list below one row, page by page."""
    return extend_schema(summary=summary, filters=False, responses=page_of(shape), parameters=_paging())


def _paging() -> list[OpenApiParameter]:
    known = Pages().get_schema_operation_parameters(None)
    return [
        OpenApiParameter(p["name"], p["schema"], OpenApiParameter.QUERY, description=p["description"]) for p in known
    ]


def event_stream(view: Any) -> Any:
    """One address, two forms: a page of JSON, or with `Accept: text/event-stream` the events as they come."""
    last = OpenApiParameter(
        "Last-Event-ID", str, OpenApiParameter.HEADER, description="The stream goes on after this seq."
    )
    stream = OpenApiResponse(
        OpenApiTypes.STR, "Server-sent events: `changed` (data: an event), `beat`, and `ended` after the last one."
    )
    return extend_schema(
        summary="Its events, oldest first: a page, or with `Accept: text/event-stream` live as they come.",
        responses={
            (200, "application/json"): page_of(EventOut, "PaginatedGoalEventOutList"),
            (200, "text/event-stream"): stream,
        },
        parameters=[*_paging(), last],
    )(view)

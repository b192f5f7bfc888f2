"""Pages of a collection: `next`, `previous`, `results`. A cursor is the place of a row in the order, so that rows which come meanwhile
shift nothing, and the thousandth page costs what the first does."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from .problems import BadQuery

PAGE_SIZE = 50
LARGEST_PAGE = 200
LONGEST_CURSOR = 500
BAD_CURSOR = "this is no cursor of this collection: take it from `next` or `previous`, or leave it out to begin anew"


class Pages(BasePagination):
    """The view says its `ordering`: columns that are never null, the last one unique."""

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        self.base_url = request.build_absolute_uri()
        self.ordering: Sequence[str] = view.ordering
        size = _page_size(request)
        self.backwards, place = _read(request, queryset, self.ordering)
        order = [_turned(column) for column in self.ordering] if self.backwards else list(self.ordering)
        rows = queryset.order_by(*order)
        if place is not None:
            rows = rows.filter(_beyond(order, place))
        found = list(rows[: size + 1])
        self.more, self.place = len(found) > size, place
        self.page = found[:size][::-1] if self.backwards else found[:size]
        return self.page

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"next": self._link(False), "previous": self._link(True), "results": data})

    def _link(self, back: bool) -> str | None:
        """In the direction that was read, only if there was one row more; in the other one, if a cursor led here."""
        if not (self.more if back == self.backwards else self.place is not None):
            return None
        place = _place(self.page[0 if back else -1], self.ordering) if self.page else self.place
        return replace_query_param(self.base_url, "cursor", _write(back, place or []))

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        size = {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": PAGE_SIZE}
        return [
            {
                "name": "cursor",
                "in": "query",
                "required": False,
                "schema": {"type": "string", "maxLength": LONGEST_CURSOR},
                "description": "The place from which to go on: as it stands in `next` or `previous`.",
            },
            {
                "name": "page_size",
                "in": "query",
                "required": False,
                "schema": size,
                "description": "How many results at most.",
            },
        ]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {"next": link, "previous": link, "results": schema},
        }


def _page_size(request: Request) -> int:
    given = request.query_params.get("page_size")
    if given is None:
        return PAGE_SIZE
    if not (given.isascii() and given.isdigit() and len(given) < 12 and 1 <= int(given) <= LARGEST_PAGE):
        raise BadQuery({"page_size": [f"a page has 1 to {LARGEST_PAGE} results"]})
    return int(given)


def _turned(column: str) -> str:
    return column[1:] if column.startswith("-") else f"-{column}"


def _beyond(order: Sequence[str], place: Sequence[Any]) -> Q:
    """Rows after `place`: the first column decides, where it is equal the next one, and so on."""
    beyond, equal = Q(), Q()
    for column, value in zip(order, place, strict=True):
        name = column.lstrip("-")
        beyond |= equal & Q(**{f"{name}__{'lt' if column.startswith('-') else 'gt'}": value})
        equal &= Q(**{name: value})
    return beyond


def _place(row: Any, ordering: Sequence[str]) -> list[Any]:
    return [getattr(row, column.lstrip("-")) for column in ordering]


def _write(back: bool, place: Sequence[Any]) -> str:
    values = [value.isoformat() if isinstance(value, datetime) else str(value) for value in place]
    return base64.urlsafe_b64encode(json.dumps([int(back), *values]).encode()).decode().rstrip("=")


def _read(request: Request, queryset: QuerySet[Any], ordering: Sequence[str]) -> tuple[bool, list[Any] | None]:
    """(backwards, place). Whatever was not written by `_write` for this order raises BadQuery."""
    given = request.query_params.get("cursor")
    if given is None:
        return False, None
    try:
        if len(given) > LONGEST_CURSOR:
            raise ValueError
        back, *values = json.loads(base64.urlsafe_b64decode(given + "=" * (-len(given) % 4)))
        if back not in (0, 1) or not all(isinstance(value, str) for value in values):
            raise ValueError
        pairs = zip(ordering, values, strict=True)
        return bool(back), [_value(queryset, column.lstrip("-"), value) for column, value in pairs]
    except (ValueError, TypeError, OverflowError, ValidationError, RecursionError) as error:
        raise BadQuery({"cursor": [BAD_CURSOR]}) from error


def _value(queryset: QuerySet[Any], name: str, text: str) -> Any:
    """The column's own value; a bare time zone, a number without a column's size or a NUL is refused here, not by the database."""
    known = queryset.query.annotations.get(name)
    field = known.output_field if known is not None else queryset.model._meta.get_field(name)
    value = field.to_python(text)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError
        return value.astimezone(UTC)
    if value is None or (isinstance(value, int) and abs(value) >= 2**63) or (isinstance(value, str) and "\0" in value):
        raise ValueError
    return value

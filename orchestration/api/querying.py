"""What stands behind the `?`: filters by the names of the pages' addresses; a name that nobody knows is refused, not ignored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import QuerySet
from django_filters import BooleanFilter, MultipleChoiceFilter
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework.request import Request

from .problems import BadQuery

PAGING = frozenset({"cursor", "page_size"})
BOOLEANS = ("true", "false")


class Filters(DjangoFilterBackend):  # type: ignore[misc]  # no stubs
    """The view names its `filterset_class`. A value that cannot be read is 400 with its name."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        filterset = self.get_filterset(request, queryset, view)
        known = filterset.filters if filterset is not None else {}
        refuse_unknown(request, {*known, *PAGING})
        refuse_unclear(request, known)
        if filterset is None:
            return queryset
        if not filterset.is_valid():
            raise BadQuery({name: list(said) for name, said in filterset.errors.items()})
        found: QuerySet[Any] = filterset.qs
        return found


def refuse_unclear(request: Request, filters: Mapping[str, Any]) -> None:
    """`?goal=$ID` with an unset ID must not answer with the rows of all goals; of two values one would be ignored."""
    unclear: dict[str, list[str]] = {}
    for name, values in request.query_params.lists():
        known = filters.get(name)
        if any(not value.strip() for value in values):
            unclear[name] = ["it is empty: give it a value, or leave it out"]
        elif len(values) > 1 and not isinstance(known, MultipleChoiceFilter):
            unclear[name] = ["it takes one value"]
        elif isinstance(known, BooleanFilter) and values[0] not in BOOLEANS:
            unclear[name] = [f"it is {' or '.join(BOOLEANS)}"]
    if unclear:
        raise BadQuery(unclear)


def refuse_unknown(request: Request, known: Iterable[str]) -> None:
    """A filter with a typo would otherwise answer with everything."""
    if unknown := sorted(set(request.query_params) - set(known)):
        there = f"there are {', '.join(sorted(known))}" if known else "there are none here"
        raise BadQuery({name[:80]: [f"unknown parameter; {there}"] for name in unknown})

"""What stands behind the `?`: filters by the names of the pages' addresses; a name that nobody knows is refused, not ignored."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework.request import Request

from .problems import BadQuery

PAGING = frozenset({"cursor", "page_size"})


class Filters(DjangoFilterBackend):  # type: ignore[misc]  # no stubs
    """The view names its `filterset_class`. A value that cannot be read is 400 with its name."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        filterset = self.get_filterset(request, queryset, view)
        known = filterset.filters if filterset is not None else {}
        refuse_unknown(request, {*known, *PAGING})
        if filterset is None:
            return queryset
        if not filterset.is_valid():
            raise BadQuery({name: list(said) for name, said in filterset.errors.items()})
        found: QuerySet[Any] = filterset.qs
        return found


def refuse_unknown(request: Request, known: Iterable[str]) -> None:
    """A filter with a typo would otherwise answer with everything."""
    if unknown := sorted(set(request.query_params) - set(known)):
        there = f"there are {', '.join(sorted(known))}" if known else "there are none here"
        raise BadQuery({name[:80]: [f"unknown parameter; {there}"] for name in unknown})

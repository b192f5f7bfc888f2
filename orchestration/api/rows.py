"""What all collections have in common: rows that this user may see, pages, filters, one row by its id."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from rest_framework import mixins, viewsets
from rest_framework.request import Request
from rest_framework.serializers import BaseSerializer

from ..roles import Action
from .permissions import READS
from .querying import refuse_unknown


class Rows(viewsets.GenericViewSet[Any]):
    """Say `visible` (a function of `selectors.access`), `ordering`, the serializers, and in `acts` what other methods are."""

    acts: ClassVar[dict[str, Action]] = READS
    visible: ClassVar[Callable[[Any], QuerySet[Any]]]
    ordering: ClassVar[tuple[str, ...]] = ("-created_at", "-id")
    related: ClassVar[tuple[str, ...]] = ()
    heavy: ClassVar[tuple[str, ...]] = ()  # columns that a list leaves in the database
    detail_serializer: ClassVar[type[BaseSerializer[Any]] | None] = None
    filtered_actions: ClassVar[frozenset[str]] = frozenset({"list"})
    lookup_value_converter = "uuid"

    def get_queryset(self) -> QuerySet[Any]:
        # without a name, select_related follows everything
        rows = type(self).visible(self.request.user).select_related(*self.related or [None])
        return rows if self.detail else rows.defer(*self.heavy)

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        if self.detail and self.detail_serializer is not None:
            return self.detail_serializer
        return super().get_serializer_class()

    def get_object(self) -> Any:
        """By its id alone: filters are for lists. What this user may not see is not there."""
        row = get_object_or_404(self.get_queryset(), pk=self.kwargs["pk"])
        self.check_object_permissions(self.request, row)
        return row

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if self.action is not None and self.action not in self.filtered_actions:
            refuse_unknown(request, ())


class Listed(mixins.ListModelMixin, Rows):
    """GET the collection."""


class Collection(mixins.RetrieveModelMixin, Listed):
    """GET the collection, and one of it."""


def checked(shape: type[BaseSerializer[Any]], request: Request) -> dict[str, Any]:
    """The body in this shape. Raises ValidationError with each place and what is wrong there."""
    asked = shape(data=request.data)
    asked.is_valid(raise_exception=True)
    return dict(asked.validated_data)

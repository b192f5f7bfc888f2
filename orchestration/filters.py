"""One definition of the goals' filters: the list page's URL and the API's query use the same names."""

from __future__ import annotations

import re
from datetime import UTC
from typing import Any

import django_filters
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet

from .models import Goal
from .states import GoalStatus

ID = re.compile(r"[0-9a-f-]{4,36}", re.IGNORECASE)


class InstantField(django_filters.fields.IsoDateTimeField):  # type: ignore[misc]  # no stubs
    """An instant that UTC can say: neither database takes the last hours of the calendar in another zone."""

    def clean(self, value: Any) -> Any:
        instant = super().clean(value)
        try:
            return instant and instant.astimezone(UTC)
        except OverflowError as error:
            raise ValidationError("the calendar of computers ends before this date") from error


class InstantFilter(django_filters.IsoDateTimeFilter):  # type: ignore[misc]  # no stubs
    field_class = InstantField


class GoalFilter(django_filters.FilterSet):  # type: ignore[misc]  # no stubs
    q = django_filters.CharFilter(method="search", label="text, id or repository")
    status = django_filters.MultipleChoiceFilter(choices=GoalStatus.choices)
    verified = django_filters.BooleanFilter()
    repository = django_filters.UUIDFilter(field_name="repository_id")
    owner = django_filters.CharFilter(field_name="submitted_by__username")
    origin = django_filters.CharFilter()
    since = InstantFilter(field_name="created_at", lookup_expr="gte", label="created at or after")
    until = InstantFilter(field_name="created_at", lookup_expr="lt", label="created before")

    class Meta:
        model = Goal
        fields: list[str] = []

    def search(self, goals: QuerySet[Goal], name: str, value: str) -> QuerySet[Goal]:
        """Words anywhere in the text or the repository's path, or the beginning of an id."""
        words: Any = Q(text__icontains=value) | Q(repository__path__icontains=value)
        if ID.fullmatch(value):
            words |= Q(pk__istartswith=value)
        return goals.filter(words)

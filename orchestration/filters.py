"""One definition of the goals' filters: the list page's URL and the API's query use the same names."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import django_filters
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django_filters.fields import IsoDateTimeField

from .models import Goal
from .states import GoalStatus

ID = re.compile(r"[0-9a-f-]{4,36}", re.IGNORECASE)


class MomentField(IsoDateTimeField):  # type: ignore[misc]  # no stubs
    def clean(self, value: Any) -> datetime | None:
        """A moment that UTC can say too: near the years 1 and 9999 its zone may carry it out of the calendar."""
        moment: datetime | None = super().clean(value)
        try:
            return moment.astimezone(UTC) if moment else None
        except (OverflowError, ValueError) as error:
            raise ValidationError("Enter a date/time between the years 1 and 9999.", code="invalid") from error


class MomentFilter(django_filters.IsoDateTimeFilter):  # type: ignore[misc]  # no stubs
    field_class = MomentField


class GoalFilter(django_filters.FilterSet):  # type: ignore[misc]  # no stubs
    q = django_filters.CharFilter(method="search", label="text, id or repository", max_length=200)
    status = django_filters.MultipleChoiceFilter(choices=GoalStatus.choices)
    verified = django_filters.BooleanFilter()
    repository = django_filters.UUIDFilter(field_name="repository_id")
    team = django_filters.CharFilter(field_name="team__name", label="of this team")
    owner = django_filters.CharFilter(field_name="submitted_by__username")
    origin = django_filters.CharFilter()
    since = MomentFilter(field_name="created_at", lookup_expr="gte", label="created at or after")
    until = MomentFilter(field_name="created_at", lookup_expr="lt", label="created before")

    class Meta:
        model = Goal
        fields: list[str] = []

    def search(self, goals: QuerySet[Goal], name: str, value: str) -> QuerySet[Goal]:
        """Words anywhere in the text or the repository's path, or the beginning of an id."""
        words: Any = Q(text__icontains=value) | Q(repository__path__icontains=value)
        if ID.fullmatch(value):
            words |= Q(pk__istartswith=value)
        return goals.filter(words)

"""Repositories as a list: what starts from each, as far as this user may see it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Max

from ..models import Repository
from .access import goals_for, repositories_for


@dataclass(frozen=True, slots=True)
class RepositoryRow:
    repository: Repository
    goals: int = 0
    last_at: datetime | None = None


def repository_rows(user: Any) -> list[RepositoryRow]:
    """Two queries, however many there are."""
    used = {
        key: (n, last)
        for key, n, last in goals_for(user)
        .exclude(repository=None)
        .values_list("repository")
        .annotate(n=Count("pk"), last=Max("created_at"))
        .order_by()
    }
    return [
        RepositoryRow(row, *used.get(row.pk, (0, None)))
        for row in repositories_for(user).select_related("team").order_by("path")
    ]

"""Every row can be looked at, none can be changed here: what a person may do to a goal are verbs of `services`."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from . import models

HEAVY = {"data", "output", "brief", "context", "request", "answer", "outcome", "error"}  # never loaded for a list


class ReadOnly(admin.ModelAdmin):  # type: ignore[type-arg]
    """A list with search, a page of one row, and no buttons."""

    list_per_page = 50
    show_full_result_count = False
    hidden: ClassVar[tuple[str, ...]] = ()

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_exclude(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return self.hidden

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        names = {field.name for field in rows.model._meta.concrete_fields}
        one = bool(getattr(request.resolver_match, "kwargs", {}).get("object_id"))
        return rows.defer(*(set(self.hidden) if one else HEAVY) & names)


def listed(
    model: type[Any], columns: str, *, search: str, filters: str = "", hidden: str = "", related: str = ""
) -> None:
    """Register a model; the words are field names."""
    options = {
        "list_display": columns.split(),
        "search_fields": search.split(),
        "list_filter": filters.split(),
        "hidden": tuple(hidden.split()),
        "list_select_related": related.split() or False,
    }
    admin.site.register(model, type(f"{model.__name__}Admin", (ReadOnly,), options))


listed(
    models.Goal,
    "short_id status verified text repository model origin created_at ended_at",
    search="id text reason",
    filters="status verified origin strategy",
    related="repository",
)
listed(
    models.Rollout,
    "__str__ status verified head branch changed_lines replans reason",
    search="goal__id branch head reason",
    filters="status",
)
listed(
    models.Plan,
    "__str__ rollout revision origin summary created_at",
    search="rollout__goal__id summary",
    filters="origin",
    related="rollout",
)
listed(
    models.Step,
    "__str__ plan status description dependencies can_parallelize priority commit",
    search="rollout__goal__id description summary",
    filters="status",
    related="plan",
)
listed(
    models.Run,
    "__str__ goal kind status attempt losses worker queued_at started_at ended_at error_kind",
    search="id goal__id worker error",
    filters="kind status error_kind",
    related="goal",
)
listed(
    models.Call,
    "__str__ run status model prompt_tokens completion_tokens exit_code started_at duration",
    search="run__id run__goal__id model",
    filters="kind status",
    related="run",
)
listed(
    models.Check,
    "command phase origin passed exit_code commit goal created_at",
    search="goal__id command commit",
    filters="phase origin passed",
    related="goal",
)
listed(
    models.Review,
    "action rollout confidence proven by reasoning created_at",
    search="rollout__goal__id reasoning",
    filters="action proven",
    related="rollout",
)
listed(
    models.Event,
    "goal seq kind subject old new by reason at",
    search="goal__id subject reason",
    filters="kind",
    related="goal",
)
listed(
    models.Artifact,
    "id kind size encoding goal created_at expires_at",
    search="id goal__id sha256",
    filters="kind",
    hidden="data",
    related="goal",
)
listed(
    models.Budget,
    "goal open calls max_calls spent_tokens reserved_tokens max_tokens overrun_tokens commands",
    search="goal__id",
    filters="open",
    related="goal",
)
listed(models.Repository, "path setup_allowed toolchain created_at", search="path", filters="setup_allowed")
listed(models.Worker, "id queues threads sandbox model started_at seen_at", search="id model")
listed(models.Lease, "name holder until", search="name holder")
listed(models.Installation, "id created_at", search="id")
listed(
    models.RecurringGoal,
    "name cron zone overlap missed owner paused_at last_due_at",
    search="id name text",
    filters="overlap missed",
    related="owner",
)
listed(
    models.Occurrence,
    "schedule due_at outcome reason goal by",
    search="schedule__id schedule__name goal__id",
    filters="outcome",
    related="schedule goal",
)
listed(
    models.ApiToken,
    "shown name user created_at expires_at last_used_at revoked_at",
    search="name user__username",
    hidden="digest",
    related="user",
)
listed(
    models.IdempotencyKey,
    "key user status location created_at",
    search="key user__username",
    hidden="answer",
    related="user",
)

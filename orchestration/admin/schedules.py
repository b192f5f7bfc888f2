"""Schedules with their actions."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from .. import services
from ..models import RecurringGoal
from ..roles import Action
from ..selectors.schedules import in_words, upcoming
from .goals import Acting, ReasonForm


@admin.register(RecurringGoal)
class RecurringGoalAdmin(Acting):
    list_display = (
        "name",
        "team",
        "cron",
        "words",
        "zone",
        "next_time",
        "overlap",
        "missed",
        "owner",
        "paused_at",
        "last_due_at",
    )
    list_filter = (("team", admin.RelatedOnlyFieldListFilter), "overlap", "missed")
    search_fields = ("id", "name", "text")
    list_select_related = ("owner", "team")
    action_form = ReasonForm
    actions = ("run_now", "pause", "resume")
    readonly_fields: ClassVar[Any] = ("go_on", "next_times")
    below: ClassVar[tuple[tuple[str, str], ...]] = (("occurrences", "due times"),)

    @admin.display(description="in words")
    def words(self, schedule: RecurringGoal) -> str:
        return in_words(schedule.cron)

    @admin.display(description="next")
    def next_time(self, schedule: RecurringGoal) -> str:
        return "".join(f"{due:%Y-%m-%d %H:%M %Z}" for due in upcoming(schedule, 1)) or "none"

    @admin.display(description="next five times")
    def next_times(self, schedule: RecurringGoal) -> str:
        return ", ".join(f"{due:%Y-%m-%d %H:%M %Z}" for due in upcoming(schedule)) or "none"

    @admin.action(description="Run the selected schedules now", permissions=["operate"])
    def run_now(self, request: HttpRequest, schedules: QuerySet[RecurringGoal]) -> None:
        by = request.user.get_username()
        self.each(
            request, schedules, Action.MANAGE_SCHEDULES, lambda row: f"{services.run_now(row.pk, by=by)} is submitted"
        )

    @admin.action(description="Pause the selected schedules", permissions=["operate"])
    def pause(self, request: HttpRequest, schedules: QuerySet[RecurringGoal]) -> None:
        by, reason = request.user.get_username(), request.POST.get("reason", "")

        def act(row: RecurringGoal) -> str:
            return f"paused by {services.pause_schedule(row.pk, by=by, reason=reason).paused_by}"

        self.each(request, schedules, Action.MANAGE_SCHEDULES, act)

    @admin.action(description="Resume the selected schedules", permissions=["operate"])
    def resume(self, request: HttpRequest, schedules: QuerySet[RecurringGoal]) -> None:
        self.each(
            request, schedules, Action.MANAGE_SCHEDULES, lambda row: f"{services.resume_schedule(row.pk)} goes on"
        )

"""/schedules: goals that come back by the calendar. Each verb is the service that panel and shell call."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Prefetch, QuerySet
from django.urls import reverse
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from .. import services
from ..models import Occurrence, RecurringGoal
from ..roles import Action
from ..selectors.access import schedules_for
from ..selectors.schedules import STRIP
from ..services.idempotency import Answer
from . import docs
from .filters import ScheduleFilter
from .goals import accepted, name_of, repository_in
from .idempotency import once
from .permissions import READS
from .rows import Collection, checked
from .serializers.goals import GoalDetail, Nothing, ReasonInput
from .serializers.schedules import ScheduleChange, ScheduleInput, ScheduleOut


class Schedules(Collection):
    visible = schedules_for
    acts = READS | dict.fromkeys(
        ("create", "partial_update", "destroy", "run_now", "pause", "resume"), Action.MANAGE_SCHEDULES
    )
    related = ("owner", "team")
    serializer_class = ScheduleOut
    filterset_class = ScheduleFilter

    def get_queryset(self) -> QuerySet[RecurringGoal]:
        newest = Occurrence.objects.order_by("-due_at")[:STRIP]
        return super().get_queryset().prefetch_related(Prefetch("occurrences", newest, "shown"))

    def shown(self, pk: UUID) -> dict[str, Any]:
        """As it is after the change."""
        return dict(ScheduleOut(self.get_queryset().get(pk=pk)).data)

    @docs.creates(ScheduleInput, ScheduleOut, "Make a schedule; its first due time is the first after now.")
    def create(self, request: Request) -> Response:
        wanted = columns_of(checked(ScheduleInput, request))

        def add() -> Answer:
            schedule = services.add_schedule(**wanted, owner=request.user)
            return Answer(201, reverse("api:schedule-detail", args=[schedule.pk]), self.shown(schedule.pk))

        return once(request, add)

    @docs.changes(ScheduleChange, ScheduleOut, "Change what is named; new times count from now.")
    def partial_update(self, request: Request, pk: UUID) -> Response:
        schedule = self.get_object()
        services.change_schedule(schedule.pk, **columns_of(checked(ScheduleChange, request)))
        return Response(self.shown(schedule.pk))

    @docs.removes("Remove it; its goals stay.")
    def destroy(self, request: Request, pk: UUID) -> Response:
        services.remove_schedule(self.get_object().pk)
        return Response(status=204)

    @docs.queues(Nothing, GoalDetail, "A goal of it at once, whatever its times and policies say.", creates=True)
    @action(detail=True, methods=["post"], url_path="run", url_name="run")
    def run_now(self, request: Request, pk: UUID) -> Response:
        schedule = self.get_object()
        checked(Nothing, request)
        return once(request, lambda: accepted(services.run_now(schedule.pk, by=name_of(request))))

    @docs.changes(ReasonInput, ScheduleOut, "Pause: nothing is submitted until it is resumed.")
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: UUID) -> Response:
        schedule, asked = self.get_object(), checked(ReasonInput, request)
        services.pause_schedule(schedule.pk, by=name_of(request), **asked)
        return Response(self.shown(schedule.pk))

    @docs.changes(Nothing, ScheduleOut, "Go on with the first due time from now.")
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: UUID) -> Response:
        schedule = self.get_object()
        checked(Nothing, request)
        services.resume_schedule(schedule.pk)
        return Response(self.shown(schedule.pk))


def columns_of(asked: dict[str, Any]) -> dict[str, Any]:
    """In the words of the service: `repo`, where an empty one means none."""
    if "repository" in asked:
        asked["repo"] = repository_in(asked.pop("repository"))
    return asked

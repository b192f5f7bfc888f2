"""/rollouts /plans /steps /runs /calls /reviews: the work on a goal, to be read."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import CharField, F
from django.db.models.functions import Cast
from django.http import HttpResponse
from rest_framework.decorators import action
from rest_framework.request import Request

from ..roles import Action
from ..selectors.access import (
    artifacts_for,
    calls_for,
    plans_for,
    reviews_for,
    rollouts_for,
    runs_for,
    steps_for,
)
from ..selectors.results import bundle_of, patch_of
from . import docs, filters
from .downloads import attachment
from .permissions import READS
from .rows import Collection
from .serializers import work as out


class Rollouts(Collection):
    visible = rollouts_for
    acts = READS | {"result_patch": Action.SEE, "bundle": Action.SEE}
    related = ("goal",)
    serializer_class = out.RolloutOut
    filterset_class = filters.RolloutFilter

    @docs.download("text/x-diff", "What this rollout changed, as a patch; also of one that was not selected.")
    @action(detail=True, url_path="patch", url_name="patch")
    def result_patch(self, request: Request, pk: UUID) -> HttpResponse:
        return attachment(request, artifacts_for(request.user).get(pk=patch_of(self.get_object())))

    @docs.download("application/x-git-bundle", "This rollout's commits as a git bundle on top of the base commit.")
    @action(detail=True)
    def bundle(self, request: Request, pk: UUID) -> HttpResponse:
        return attachment(request, artifacts_for(request.user).get(pk=bundle_of(self.get_object())))


class Plans(Collection):
    visible = plans_for
    related = ("rollout",)
    serializer_class = out.PlanSummary
    detail_serializer = out.PlanDetail
    filterset_class = filters.PlanFilter

    def get_queryset(self) -> Any:
        rows = super().get_queryset()
        return rows.prefetch_related("steps__rollout") if self.detail else rows


class Steps(Collection):
    """A step has no time of its own before it ends: its plan's, then its place in it."""

    visible = steps_for
    ordering = ("-planned_at", "index", "id")
    related = ("rollout",)
    serializer_class = out.StepOut
    filterset_class = filters.StepFilter

    def get_queryset(self) -> Any:
        return super().get_queryset().annotate(planned_at=F("plan__created_at"))


class Runs(Collection):
    """`queued_at` is the database's own clock, which SQLite writes with fewer digits than we would: as a text it equals itself."""

    visible = runs_for
    ordering = ("-queued_text", "-id")
    heavy = ("brief", "outcome", "error")
    serializer_class = out.RunSummary
    detail_serializer = out.RunDetail
    filterset_class = filters.RunFilter

    def get_queryset(self) -> Any:
        return super().get_queryset().annotate(queued_text=Cast("queued_at", CharField(max_length=40)))


class Calls(Collection):
    visible = calls_for
    ordering = ("-id",)
    heavy = ("request", "answer", "error")
    serializer_class = out.CallSummary
    detail_serializer = out.CallDetail
    filterset_class = filters.CallFilter
    lookup_value_converter = "int"


class Reviews(Collection):
    visible = reviews_for
    related = ("rollout",)
    serializer_class = out.ReviewOut
    filterset_class = filters.ReviewFilter

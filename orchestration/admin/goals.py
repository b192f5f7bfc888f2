"""Goals with their actions, artifacts with their download."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar
from uuid import uuid4

from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.db.models import QuerySet
from django.forms import CharField, HiddenInput
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString

from .. import services
from ..attachments import artifact_attachment
from ..errors import NotFound, OrchestrationError
from ..models import Artifact, Goal
from ..roles import Action
from ..selectors.access import artifacts_for, require
from ..services.once import retry_once
from .readonly import ReadOnly, link, may_operate


class ReasonForm(ActionForm):
    """Whoever reads the goal's events later wants to know why. `key`: a form that is sent twice retries once."""

    reason = CharField(required=False, max_length=500, label="Reason:")
    key = CharField(required=False, max_length=64, label="", widget=HiddenInput, initial=lambda: uuid4().hex)


class Acting(ReadOnly):
    """A list whose actions call services, and tell for each object what happened."""

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return may_operate(request, self.model)

    def each(self, request: HttpRequest, rows: QuerySet[Any], action: Action, act: Callable[[Any], str]) -> None:
        """Here, too, it is the role in the row's team that says who may."""
        for row in rows:
            try:
                require(request.user, action, row.team_id)
                self.message_user(request, f"{row}: {act(row)}", messages.SUCCESS)
            except OrchestrationError as error:
                self.message_user(request, f"{row}: {error}", messages.ERROR)


@admin.register(Goal)
class GoalAdmin(Acting):
    list_display = (
        "short_id",
        "team",
        "status",
        "verified",
        "text",
        "repository",
        "model",
        "origin",
        "created_at",
        "ended_at",
    )
    list_filter = (("team", admin.RelatedOnlyFieldListFilter), "status", "verified", "origin", "strategy")
    search_fields = ("id", "text", "reason")
    list_select_related = ("repository", "team")
    action_form = ReasonForm
    actions = ("cancel", "pause", "retry")
    below: ClassVar[tuple[tuple[str, str], ...]] = (
        ("rollouts", "rollouts"),
        ("runs", "runs"),
        ("check_results", "checks"),
        ("events", "events"),
        ("artifacts", "artifacts"),
        ("retries", "retries"),
    )

    @admin.action(description="Cancel the selected goals", permissions=["operate"])
    def cancel(self, request: HttpRequest, goals: QuerySet[Goal]) -> None:
        by, reason = request.user.get_username(), request.POST.get("reason", "")
        self.each(
            request,
            goals,
            Action.CANCEL,
            lambda goal: f"is {services.cancel_goal(goal.pk, by=by, reason=reason).status}",
        )

    @admin.action(description="Pause the selected goals", permissions=["operate"])
    def pause(self, request: HttpRequest, goals: QuerySet[Goal]) -> None:
        by, reason = request.user.get_username(), request.POST.get("reason", "") or "paused in the admin"
        self.each(
            request, goals, Action.PAUSE, lambda goal: f"is {services.pause_goal(goal.pk, by=by, reason=reason).status}"
        )

    @admin.action(description="Retry the selected goals", permissions=["operate"])
    def retry(self, request: HttpRequest, goals: QuerySet[Goal]) -> None:
        key = request.POST.get("key") or uuid4().hex
        self.each(
            request, goals, Action.RETRY, lambda goal: f"its retry is {retry_once(key, goal.pk, by=request.user)}"
        )


@admin.register(Artifact)
class ArtifactAdmin(ReadOnly):
    list_display = ("id", "kind", "media_type", "size", "goal", "created_at", "expires_at", "download")
    list_filter = ("kind",)
    search_fields = ("id", "goal__id", "sha256")
    list_select_related = ("goal",)
    hidden = ("data",)
    readonly_fields: ClassVar[Any] = ("download",)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.as_attachment)
        return [path("<path:pk>/download/", view, name="orchestration_artifact_download"), *super().get_urls()]

    @admin.display(description="download")
    def download(self, row: Artifact) -> SafeString:
        return link(reverse("admin:orchestration_artifact_download", args=[row.pk]), f"{row.size} bytes")

    def as_attachment(self, request: HttpRequest, pk: str) -> HttpResponse:
        if not self.has_view_permission(request):
            raise Http404
        try:
            return artifact_attachment(get_object_or_404(artifacts_for(request.user), pk=pk))
        except NotFound as error:
            raise Http404(str(error)) from error

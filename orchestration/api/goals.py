"""/goals: submit one, look at it, follow it, steer it, take its result. Each verb is the service that the panel calls."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models.functions import Left
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from .. import services, story, streaming
from ..filters import GoalFilter
from ..handover import packet
from ..models import Event, Goal
from ..roles import Action
from ..selectors.access import artifacts_for, events_for, goals_for
from ..selectors.results import bundle_of, patch_of, result_of
from ..services.idempotency import Answer
from . import docs
from .downloads import attachment
from .filters import GoalEventFilter
from .idempotency import once
from .permissions import READS
from .problems import NoRoom
from .rows import Collection, checked
from .serializers.goals import (
    CancelInput,
    FollowUpInput,
    GoalDetail,
    GoalInput,
    GoalSummary,
    Handover,
    MessageInput,
    Nothing,
    OverrideInput,
    PauseInput,
    PickInput,
    PriorityInput,
    ResumeInput,
    RetryInput,
    StepInput,
)
from .serializers.records import EventOut

# the words of the API → the words of `submit_goal`
WORDS = {"repository": "repo", "base_ref": "ref", "rollouts_wanted": "rollouts", "stagger_seconds": "stagger"}


class EventStream(JSONRenderer):
    """Only for the negotiation: what it would render is streamed by `orchestration.streaming`."""

    media_type = "text/event-stream"
    format = "stream"


class Goals(Collection):
    visible = goals_for
    acts = READS | {
        "create": Action.SUBMIT,
        "cancel": Action.CANCEL,
        "pause": Action.PAUSE,
        "resume": Action.RESUME,
        "retry": Action.RETRY,
        "pick": Action.PICK,
        "run_plan": Action.RESUME,
        "follow_up": Action.SUBMIT,
        "message": Action.MESSAGE,
        "priority": Action.PRIORITIZE,
        **dict.fromkeys(("skip_step", "mark_done", "override"), Action.OVERRIDE),
        "events": Action.SEE,
        "result_patch": Action.SEE,
        "bundle": Action.SEE,
        "handover": Action.SEE,
    }
    related = ("submitted_by", "selected", "team")
    heavy = ("text", "context")
    serializer_class = GoalSummary
    detail_serializer = GoalDetail
    filterset_class = GoalFilter
    filtered_actions = frozenset({"list", "events"})

    def get_queryset(self) -> Any:
        rows = super().get_queryset().annotate(opening=Left("text", 200))
        return rows.prefetch_related("check_results__rollout", "rollouts") if self.action == "retrieve" else rows

    @docs.queues(GoalInput, GoalDetail, "Submit a goal.", creates=True)
    def create(self, request: Request) -> Response:
        wish = wish_of(checked(GoalInput, request))
        return once(request, lambda: accepted(services.submit_goal(**wish, origin="api", by=request.user)))

    @docs.queues(CancelInput, GoalDetail, "Cancel: nothing more is begun from now on; what runs is stopped.")
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: UUID) -> Response:
        goal, asked = self.get_object(), checked(CancelInput, request)
        return once(request, lambda: accepted(services.cancel_goal(goal.pk, by=name_of(request), **asked)))

    @docs.changes(
        PauseInput, GoalDetail, "Pause: nothing more is begun; what runs stops at a safe point, or goes on to its end."
    )
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: UUID) -> Response:
        goal, asked = self.get_object(), checked(PauseInput, request)
        return Response(GoalDetail(services.pause_goal(goal.pk, by=name_of(request), **asked)).data)

    @docs.queues(ResumeInput, GoalDetail, "Resume a paused goal; one that paused at a limit needs a higher one.")
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: UUID) -> Response:
        goal, asked = self.get_object(), checked(ResumeInput, request)
        return once(request, lambda: accepted(services.resume_goal(goal.pk, by=name_of(request), **asked)))

    @docs.queues(
        RetryInput, GoalDetail, "Retry an ended goal: a new one that carries the finished steps.", creates=True
    )
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: UUID) -> Response:
        goal, asked = self.get_object(), checked(RetryInput, request)
        return once(request, lambda: accepted(services.retry_goal(goal.pk, by=name_of(request), **asked)))

    @docs.changes(PickInput, GoalDetail, "Take another rollout's result than the one that was selected.")
    @action(detail=True, methods=["post"])
    def pick(self, request: Request, pk: UUID) -> Response:
        goal, asked = self.get_object(), checked(PickInput, request)
        picked = services.pick_rollout(goal.pk, asked["rollout"], reason=asked["reason"], by=name_of(request))
        return Response(GoalDetail(picked).data)

    @docs.queues(
        FollowUpInput, GoalDetail, "Request changes: a new goal that starts from this one's result.", creates=True
    )
    @action(detail=True, methods=["post"], url_path="follow-up", url_name="follow-up")
    def follow_up(self, request: Request, pk: UUID) -> Response:
        goal, asked = self.get_object(), checked(FollowUpInput, request)
        return once(request, lambda: accepted(services.follow_up(goal.pk, **asked, by=request.user)))

    @docs.changes(MessageInput, GoalDetail, "Say something to those who work on it: their next model call has it.")
    @action(detail=True, methods=["post"])
    def message(self, request: Request, pk: UUID) -> Response:
        goal, asked = self.get_object(), checked(MessageInput, request)
        services.send_message(goal.pk, asked["text"], to=asked.get("to", "executor"), by=name_of(request))
        return Response(GoalDetail(self.get_object()).data)

    @docs.changes(PriorityInput, GoalDetail, "Let a live goal come sooner, or later.")
    @action(detail=True, methods=["post"])
    def priority(self, request: Request, pk: UUID) -> Response:
        goal, asked = self.get_object(), checked(PriorityInput, request)
        services.set_priority(goal.pk, asked.pop("priority"), by=name_of(request), **asked)
        return Response(GoalDetail(self.get_object()).data)

    @docs.changes(StepInput, GoalDetail, "Leave a step out; what depends on it goes on as if it were done.")
    @action(detail=True, methods=["post"], url_path="skip-step", url_name="skip-step")
    def skip_step(self, request: Request, pk: UUID) -> Response:
        return self._settle(request, services.skip_step)

    @docs.changes(StepInput, GoalDetail, "A step is done by hand: its work is taken to be in head.")
    @action(detail=True, methods=["post"], url_path="mark-done", url_name="mark-done")
    def mark_done(self, request: Request, pk: UUID) -> Response:
        return self._settle(request, services.mark_done)

    def _settle(self, request: Request, act: Any) -> Response:
        goal, asked = self.get_object(), checked(StepInput, request)
        act(goal.pk, asked.pop("step"), by=name_of(request), **asked)
        return Response(GoalDetail(self.get_object()).data)

    @docs.changes(OverrideInput, GoalDetail, "A person's verdict in the place of the last review's.")
    @action(detail=True, methods=["post"])
    def override(self, request: Request, pk: UUID) -> Response:
        goal, asked = self.get_object(), checked(OverrideInput, request)
        services.override_verdict(goal.pk, asked.pop("action"), by=name_of(request), **asked)
        return Response(GoalDetail(self.get_object()).data)

    @docs.changes(Nothing, GoalDetail, "Go on with a plan-only goal, by the plan that it has: no second planning call.")
    @action(detail=True, methods=["post"], url_path="run-plan", url_name="run-plan")
    def run_plan(self, request: Request, pk: UUID) -> Response:
        goal = self.get_object()
        checked(Nothing, request)
        services.run_plan(goal.pk, by=name_of(request))
        return Response(GoalDetail(self.get_object()).data)

    @docs.event_stream
    @action(
        detail=True,
        renderer_classes=[JSONRenderer, EventStream],
        filterset_class=GoalEventFilter,
        detail_serializer=EventOut,
        ordering=("seq",),
    )
    def events(self, request: Request, pk: UUID) -> HttpResponseBase:
        goal = self.get_object()
        if getattr(request.accepted_renderer, "media_type", "") == EventStream.media_type:
            return stream(request, goal)
        rows = self.paginate_queryset(self.filter_queryset(events_for(request.user).filter(goal=goal)))
        return self.get_paginated_response(EventOut(rows, many=True).data)

    @extend_schema(
        summary="The handover packet: what was tried, evidence, what is open, and how to go on.", filters=False
    )
    @action(detail=True, detail_serializer=Handover)
    def handover(self, request: Request, pk: UUID) -> Response:
        return Response(packet(story.handed_over(self.get_object())))

    @docs.download("text/x-diff", "The result as a patch: of the selected rollout, or of the only one.")
    @action(detail=True, url_path="patch", url_name="patch")
    def result_patch(self, request: Request, pk: UUID) -> HttpResponse:
        patch = patch_of(result_of(self.get_object()))
        return attachment(request, artifacts_for(request.user).get(pk=patch))

    @docs.download("application/x-git-bundle", "The result's commits as a git bundle on top of the base commit.")
    @action(detail=True)
    def bundle(self, request: Request, pk: UUID) -> HttpResponse:
        bundle = bundle_of(result_of(self.get_object()))
        return attachment(request, artifacts_for(request.user).get(pk=bundle))


def wish_of(asked: dict[str, Any]) -> dict[str, Any]:
    """What was asked for, in the words of `submit_goal`; a repository may be named by its id."""
    wish = {WORDS.get(name, name): value for name, value in asked.items()}
    if "repo" in wish:
        wish["repo"] = repository_in(wish["repo"]) or None
    return wish


def repository_in(text: str | None) -> UUID | str:
    try:
        return UUID(text or "")
    except ValueError:
        return text or ""


def accepted(goal: Goal) -> Answer:
    return Answer(202, reverse("api:goal-detail", args=[goal.pk]), GoalDetail(goal).data)


def name_of(request: Request) -> str:
    return str(request.user.get_username())


def stream(request: Request, goal: Goal) -> StreamingHttpResponse:
    if not streaming.has_room():
        raise NoRoom
    after = streaming.place_of(request.headers.get("Last-Event-ID", ""), request.query_params.get("after", ""))
    return StreamingHttpResponse(
        streaming.follow(request.user, goal.pk, after, told),
        content_type=EventStream.media_type,
        headers=streaming.HEADERS,
    )


def told(event: Event) -> dict[str, Any]:
    return {**EventOut(event).data}  # type: ignore[dict-item]  # `data` is also the name of a field there

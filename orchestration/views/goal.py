"""One goal: each tab is an address of its own and shows the same head."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_safe

from .. import story
from ..blobs import load_blob
from ..errors import NotFound
from ..handover import packet
from ..models import Rollout, Step
from ..rendering.diff import Diff, parse_diff
from ..roles import Action
from ..selectors import goal_tabs
from ..selectors.access import goals_for
from ..selectors.goal_page import GoalHead, goal_head, plan_tab
from .acting import needs
from .asking import number, page_or_fragment


def _tab(request: HttpRequest, head: GoalHead, tab: str, **context: Any) -> HttpResponse:
    shown = {
        "head": head,
        "goal": head.goal,
        "tab": tab,
        "part": f"orchestration/goal/_{tab}.html",
        "key": uuid4().hex,
        **context,
    }
    return page_or_fragment(request, "orchestration/goal/page.html", "orchestration/goal/_live.html", shown)


@needs(Action.SEE)
@require_safe
def plan(request: HttpRequest, goal_id: UUID) -> HttpResponse:
    head = goal_head(request.user, goal_id, rollout=number(request, "rollout"), revision=number(request, "revision"))

    def href(step: Step) -> str:
        assert head.rollout is not None
        assert head.plan is not None
        place = (goal_id, head.rollout.number, head.plan.revision, step.index)
        return reverse("orchestration:step-detail", args=place)

    return _tab(request, head, "plan", shown=plan_tab(head, href), node=number(request, "node"))


@needs(Action.SEE)
@require_safe
def commands(request: HttpRequest, goal_id: UUID) -> HttpResponse:
    head = goal_head(request.user, goal_id)
    page = goal_tabs.commands_of(head.goal, number(request, "after") or 0)
    return _tab(request, head, "commands", page=page)


@needs(Action.SEE)
@require_safe
def changes(request: HttpRequest, goal_id: UUID) -> HttpResponse:
    head = goal_head(request.user, goal_id, rollout=number(request, "rollout"))
    return _tab(request, head, "changes", diff=_diff_of(head.rollout))


@needs(Action.SEE)
@require_safe
def reviews(request: HttpRequest, goal_id: UUID) -> HttpResponse:
    head = goal_head(request.user, goal_id)
    return _tab(request, head, "reviews", reviews=goal_tabs.reviews_of(head.goal))


@needs(Action.SEE)
@require_safe
def events(request: HttpRequest, goal_id: UUID) -> HttpResponse:
    head = goal_head(request.user, goal_id)
    return _tab(request, head, "events", page=goal_tabs.events_of(head.goal, number(request, "before") or 0))


@needs(Action.SEE)
@require_safe
def artifacts(request: HttpRequest, goal_id: UUID) -> HttpResponse:
    head, everything = goal_head(request.user, goal_id), number(request, "all") == 1
    page = goal_tabs.artifacts_of(request.user, head.goal, everything)
    return _tab(request, head, "artifacts", page=page, everything=everything)


@needs(Action.SEE)
@require_safe
def handover(request: HttpRequest, goal_id: UUID) -> HttpResponse:
    head = goal_head(request.user, goal_id)
    return _tab(request, head, "handover", handed=packet(story.handed_over(head.goal)))


@needs(Action.SEE)
@require_safe
def as_json(request: HttpRequest, goal_id: UUID) -> HttpResponse:
    goal = get_object_or_404(goals_for(request.user).select_related("repository"), pk=goal_id)
    return JsonResponse(story.story(goal), json_dumps_params={"indent": 1})


def _diff_of(rollout: Rollout | None) -> Diff | None:
    """None: there is no patch yet."""
    if rollout is None or rollout.patch_id is None:
        return None
    try:
        return parse_diff(load_blob(rollout.patch_id))
    except NotFound:
        return None

"""Whose hours count: goals at work, and none that waits for a person or in line."""

from __future__ import annotations

from typing import Any

from django.db.models import Exists, OuterRef, QuerySet

from ..models import Goal, Question, Review, Run
from ..states import LIVE_RUN, OPEN_GOAL, GoalStatus, QuestionStatus

RESTING = frozenset({GoalStatus.PAUSED, GoalStatus.CANCELLING, GoalStatus.AWAITING_APPROVAL})


def goals_whose_hours_count() -> QuerySet[Goal]:
    """What the others wait for is given back to them when they go on."""
    at_work = Goal.objects.filter(status__in=OPEN_GOAL - RESTING, cancelled_at=None, in_line_since=None)
    works = Exists(Run.objects.filter(goal=OuterRef("pk"), status__in=LIVE_RUN))
    asks = Exists(Question.objects.filter(goal=OuterRef("pk"), status=QuestionStatus.WAITING))
    return at_work.exclude(rollouts__in=undecided()).exclude(~works & asks)


def undecided() -> QuerySet[Any, Any]:
    """Rollouts whose verdict waits for a person."""
    waiting: QuerySet[Any, Any] = Review.objects.filter(acted=False).exclude(asks="")
    return waiting.values("rollout")

"""What the other tabs of a goal show, each a page of rows at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404

from ..models import Artifact, Call, Event, Goal, Review
from ..states import CallKind
from ..transcript import Terminal, terminal
from .access import artifacts_for, calls_for

COMMANDS, EVENTS, ARTIFACTS, REVIEWS = 50, 200, 200, 100
ENGINES_OWN = ("checkpoint",)


@dataclass(frozen=True)
class Page:
    """`more`: the value of the query that shows the next page, 0 on the last."""

    rows: Sequence[Any]
    more: int = 0


def commands_of(goal: Goal, after: int) -> Page:
    """Oldest first, from the call `after` on."""
    calls = Call.objects.filter(run__goal=goal, kind=CallKind.COMMAND, pk__gt=after)
    calls = calls.select_related("run__step__plan", "run__rollout").defer("request_hash", "run__brief", "run__outcome")
    rows = list(calls.order_by("pk")[: COMMANDS + 1])
    shown: list[tuple[Call, Terminal]] = [(call, terminal(call)) for call in rows[:COMMANDS]]
    return Page(shown, shown[-1][0].pk if len(rows) > COMMANDS else 0)


def events_of(goal: Goal, before: int) -> Page:
    """Newest first, below number `before` (0: from the newest)."""
    events = Event.objects.filter(goal=goal).order_by("-seq")
    rows = list((events.filter(seq__lt=before) if before else events)[: EVENTS + 1])
    return Page(rows[:EVENTS], rows[EVENTS - 1].seq if len(rows) > EVENTS else 0)


def reviews_of(goal: Goal) -> Sequence[Review]:
    return list(Review.objects.filter(rollout__goal=goal).order_by("-created_at")[:REVIEWS])


def artifacts_of(user: Any, goal: Goal, everything: bool) -> Page:
    """Without the engine's own checkpoints, unless `everything` is asked for."""
    rows: QuerySet[Artifact] = artifacts_for(user).filter(goal=goal).order_by("-created_at", "pk")
    if not everything:
        rows = rows.exclude(kind__in=ENGINES_OWN)
    return Page(list(rows[:ARTIFACTS]))


def artifact_of(user: Any, goal_id: Any, artifact_id: str) -> Artifact:
    return get_object_or_404(artifacts_for(user), goal=goal_id, pk=artifact_id)


def command_of(user: Any, goal_id: Any, call_id: int) -> Call:
    calls = calls_for(user).filter(run__goal=goal_id, kind=CallKind.COMMAND)
    return get_object_or_404(calls, pk=call_id)

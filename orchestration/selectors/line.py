"""The line of goals that wait for room under their team's caps, and the place of what waits for a worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from .. import fairness
from ..models import Goal, Run, Team
from ..states import OPEN_GOAL, GoalStatus, RunStatus
from .engine import due

RESTS = frozenset({GoalStatus.DRAFT, GoalStatus.PAUSED, GoalStatus.AWAITING_APPROVAL})  # holds no worker, takes no room
MOST_LOOKED_AT = 2000
CAP_WORDS = {
    "team": "the team {team} has {n} goal{s} running, which is its cap",
    "user": "{n} goal{s} of {user} run{verb} in the team {team}, which is the cap of each of its users",
    "repository": "{n} goal{s} run{verb} on its repository, which is the cap of each of the team's repositories",
}


@dataclass(frozen=True, slots=True)
class InLine:
    """`place` of `length`; `cap` (team, user, repository) holds it, empty where it may go on at once; `said`: why, in words."""

    place: int
    length: int
    cap: str
    said: str


def caps_of(team: Team) -> fairness.Caps:
    return fairness.caps_of(settings.RUNNING_CAPS, team.caps)


def teams_in_line() -> list[Any]:
    """The teams that have goals in line."""
    return list(_line().order_by().values_list("team_id", flat=True).distinct())


def _line() -> QuerySet[Goal]:
    line = Goal.objects.filter(in_line_since__isnull=False, status__in=OPEN_GOAL, cancelled_at__isnull=True)
    return line.exclude(status=GoalStatus.PAUSED)


def line_of(team_id: Any) -> list[fairness.Waiting]:
    now = timezone.now()
    names = ("pk", "submitted_by", "repository", "priority", "in_line_since")
    return [
        fairness.Waiting(pk, fairness.Place(user, repository), priority, (now - since).total_seconds())
        for pk, user, repository, priority, since in _line().filter(team=team_id).values_list(*names)
    ]


def running_in(team_id: Any) -> list[fairness.Place]:
    """The goals that take room: begun and not over, those that rest left out."""
    running = Goal.objects.filter(team=team_id, status__in=OPEN_GOAL - RESTS, in_line_since__isnull=True, only="")
    return [fairness.Place(*row) for row in running.order_by().values_list("submitted_by", "repository")]


def decided(team: Team) -> fairness.Admission:
    """Who of the team's line may go on now, and what holds the others."""
    line, running = line_of(team.pk), running_in(team.pk)
    return fairness.admit(line, running, caps_of(team), settings.PRIORITY_RISES_SECONDS)


def in_line(goal: Goal) -> InLine | None:
    """Where a goal stands in its team's line; None: it does not wait there. Four queries, and none where it does not."""
    if goal.in_line_since is None or goal.is_terminal or goal.cancelled_at is not None:
        return None
    found = decided(goal.team)
    order = [*found.admitted, *(pk for pk, _ in found.held)]
    if goal.pk not in order:
        return None
    cap = dict(found.held).get(goal.pk, "")
    return InLine(order.index(goal.pk) + 1, len(order), cap, _said(goal, cap))


def _said(goal: Goal, cap: str) -> str:
    if not cap:
        return "there is room for it, and it goes on within seconds"
    n = getattr(caps_of(goal.team), cap)
    words = {"team": goal.team, "n": n, "s": "" if n == 1 else "s", "verb": "s" if n == 1 else "", "user": "its owner"}
    if goal.submitted_by is not None:
        words["user"] = goal.submitted_by.get_username()
    return CAP_WORDS[cap].format(**words)


def place_at_workers(run: Run) -> tuple[int, int] | None:
    """(place, of how many) among what is due on the run's queue; None where it is not among the first of them, or not due."""
    names = ("pk", "goal__team", "goal__priority", "priority", "queued_at")
    now = timezone.now()
    rows = due([run.queue]).filter(status=RunStatus.QUEUED).order_by("queued_at").values_list(*names)[:MOST_LOOKED_AT]
    queued = [
        fairness.Queued(pk, team, goals, own, (now - since).total_seconds()) for pk, team, goals, own, since in rows
    ]
    order = fairness.in_turn(queued, settings.PRIORITY_RISES_SECONDS)
    return (order.index(run.pk) + 1, len(order)) if run.pk in order else None

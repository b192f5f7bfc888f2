"""Caps of running goals: who has to wait in line, and who may go on when there is room.

The team's row is the lock: two who admit come one after the other, so a cap holds under any race. Lock order: team, then goal; whoever
holds a goal never waits for its team.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from ..errors import BadInput
from ..models import Run, Team, TeamEvent
from ..selectors.line import caps_of, decided
from ..states import RunStatus
from ..transitions import Change, locked, repeatable
from .advancing import advance

MOST_AT_ONCE = 200
LARGEST_CAP = 100_000
CAPS = ("team", "user", "repository")


def line_up(change: Change, team: Team) -> None:
    """A goal that is to begin, or to go on, waits for room first, where its team has caps. It is looked for after the commit."""
    goal = change.goal
    if goal.only or not caps_of(team).any:
        return
    if goal.in_line_since is None:
        change.set(goal, in_line_since=timezone.now())
    transaction.on_commit(partial(admit_waiting, goal.team_id), robust=True)


def admit_waiting(team_id: Any) -> int:
    """Let go on whoever has room now; how many. By the sweep, and by whoever lined up."""
    admitted = 0
    while admitted < MOST_AT_ONCE and _admit_next(team_id):
        admitted += 1
    return admitted


@repeatable
def _admit_next(team_id: Any) -> bool:
    with transaction.atomic():
        team = Team.objects.select_for_update(no_key=True).get(pk=team_id)
        found = decided(team)
        if not found.admitted:
            return False
        with locked(found.admitted[0], savepoint=False) as change:
            _let_go_on(change)
        return True


def _let_go_on(change: Change) -> None:
    """Its hours are for work: what it waited for room does not count."""
    goal = change.goal
    if goal.in_line_since is None:
        return
    waited = timezone.now() - goal.in_line_since
    more = {} if goal.deadline_at is None else {"deadline_at": goal.deadline_at + waited}
    change.set(goal, in_line_since=None, **more)
    if waited.total_seconds() >= 1:
        change.note("goal.admitted", data={"waited_seconds": round(waited.total_seconds())})
    advance(change)
    for run in Run.objects.filter(goal=goal, status=RunStatus.QUEUED, not_before__lte=Now()):
        change.wake(run)


@repeatable
def set_caps(team: Team, wanted: dict[str, int | None], *, by: str) -> Team:
    """The team's own caps by name (team, user, repository): a number, 0 for none, None for the installation's. What has room goes on.

    Raises BadInput for what is no cap.
    """
    for name, most in wanted.items():
        if name not in CAPS or isinstance(most, bool) or not (most is None or 0 <= most <= LARGEST_CAP):
            raise BadInput(f"a cap ({', '.join(CAPS)}) is a number up to {LARGEST_CAP}, or none; not {name}={most!r}")
    with transaction.atomic():
        row = Team.objects.select_for_update(no_key=True).get(pk=team.pk)
        before = row.caps
        caps = {name: most for name, most in {**before, **wanted}.items() if most is not None}
        if caps != before:
            Team.objects.filter(pk=team.pk).update(caps=caps)
            TeamEvent.objects.create(team=team, kind="team.caps", old=_told(before), new=_told(caps), by=by)
        team.caps = caps
        transaction.on_commit(partial(admit_waiting, team.pk), robust=True)
        return team


def _told(caps: dict[str, int]) -> str:
    return " ".join(str(caps.get(name, "-")) for name in CAPS)[:20]

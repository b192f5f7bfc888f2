"""claim: a queued run becomes this worker's, with a new fence and a lease. By id (a message), or the best of some queues (pull)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Case, Exists, IntegerField, QuerySet, Value, When
from django.db.models.functions import Now
from django.utils import timezone

from .. import selectors
from ..models import Breaker, Budget, Goal, Rollout, Run
from ..states import BreakerStatus, GoalStatus, RunStatus
from ..transitions import Change, locked, repeatable

CLOSED = (GoalStatus.PAUSED, GoalStatus.CANCELLING, GoalStatus.AWAITING_APPROVAL)
RISKY_LOSSES = 2  # a run that lost so many workers may be what kills them: one at a time in a process
PATIENCE = timedelta(seconds=1)  # a run that waited longer is served before the same goal goes on


@repeatable
def claim(run_id: Any, worker: str, *, risky: bool = True, needs: Sequence[str] = ()) -> Run | None:
    """The run that a message names; None when it is not queued any more, not due, or its goal is closed. All of that is normal.

    `needs`: what this worker's runs depend on; while the breaker of any of it is not closed, nothing is claimed.
    """
    named = _unheld(_bearable(Run.objects.filter(pk=run_id), risky), needs)
    goal_id = named.filter(status=RunStatus.QUEUED).values_list("goal_id", flat=True).first()
    if goal_id is None:
        return None
    with locked(goal_id, by=worker) as change:
        return take(change, named, worker)


@repeatable
def pull(
    queues: Sequence[str], worker: str, *, risky: bool = True, needs: Sequence[str] = (), later: Sequence[Any] = ()
) -> Run | None:
    """The most urgent due run of these queues; goals that somebody is writing to just now are passed over where that is possible.

    `later`: goals whose turn comes after all others.
    """
    with transaction.atomic():
        due = _unheld(_due(queues, risky), needs).select_related("goal").order_by("-priority", "queued_at")
        if later:
            due = due.annotate(turn=_turn(later)).order_by("turn", "-priority", "queued_at")
        if connection.features.has_select_for_update_skip_locked:
            found = due.select_for_update(of=("goal",), no_key=True, skip_locked=True).first() or due.first()
        else:
            found = due.first()
        if found is None:
            return None
        with locked(found.goal_id, by=worker) as change:
            return take(change, Run.objects.filter(pk=found.pk), worker)


def continuation(change: Change, run: Run, worker: str) -> Run | None:
    """After a record, in its transaction: a run of the same goal and queue, unless others have waited on that queue."""
    if not worker or _due([run.queue]).exclude(goal=change.goal).filter(queued_at__lt=Now() - PATIENCE).exists():
        return None
    same = Run.objects.filter(goal=change.goal, queue=run.queue).order_by("-priority", "queued_at")
    return take(change, _bearable(same, risky=False), worker)


def take(change: Change, runs: QuerySet[Run], worker: str) -> Run | None:
    """Make the first due one of `runs` this worker's. The caller holds the goal."""
    if selectors.gate(change.goal) != "open":
        return None
    due = runs.filter(status=RunStatus.QUEUED, not_before__lte=Now()).select_related("rollout", "step", "plan")
    run = due.first()
    if run is None:
        return None
    lease, limit = timedelta(seconds=settings.LEASE_SECONDS), timedelta(seconds=settings.RUN_DEADLINE_SECONDS[run.kind])
    rows: dict[str, Any] = {
        "fence": run.fence + 1,
        "worker": worker,
        "lease_until": Now() + lease,
        "deadline_at": Now() + limit,
        "sandbox_gone_at": None,
    }
    if run.started_at is None:
        rows["started_at"] = Now()
        rows["base_commit"] = run.rollout.head
    if not change.move(run, RunStatus.RUNNING, data=_about(run, worker), **rows):
        return None
    _start_the_clock(change.goal)
    return Run.objects.select_related("goal__repository", "rollout", "step", "plan").get(pk=run.pk)


def still_mine(run: Run) -> bool:
    """Does the run still belong to the claim that `run` was read with?"""
    return Run.objects.filter(pk=run.pk, fence=run.fence, status=RunStatus.RUNNING).exists()


def current_head(run: Run) -> str:
    """The commit that the run's rollout stands at now."""
    return str(Rollout.objects.values_list("head", flat=True).get(pk=run.rollout_id))


def _due(queues: Sequence[str], risky: bool = True) -> QuerySet[Run]:
    due = Run.objects.filter(status=RunStatus.QUEUED, queue__in=queues, not_before__lte=Now())
    due = due.exclude(goal__status__in=CLOSED).filter(goal__cancelled_at__isnull=True)
    return _bearable(due, risky)


def _unheld(runs: QuerySet[Run], needs: Sequence[str]) -> QuerySet[Run]:
    """None of them while something that the worker needs is away. A part of the same statement: claims cost no further one.

    (A continuation does not look: the run before it has just been answered.)
    """
    if not needs:
        return runs
    return runs.exclude(Exists(Breaker.objects.filter(pk__in=needs).exclude(status=BreakerStatus.CLOSED)))


def _turn(later: Sequence[Any]) -> Case:
    return Case(When(goal__in=later, then=Value(1)), default=Value(0), output_field=IntegerField())


def _bearable(runs: QuerySet[Run], risky: bool) -> QuerySet[Run]:
    """Without what may kill its worker, where the process works on such a run already."""
    return runs if risky else runs.filter(losses__lt=RISKY_LOSSES)


def _about(run: Run, worker: str) -> dict[str, Any]:
    step = {"step": run.step.index} if run.step else {}
    return {"run": str(run.pk), "attempt": run.attempt, "worker": worker, **step}


def _start_the_clock(goal: Goal) -> None:
    """The hours of a goal count from its first claim, not from its submission."""
    if goal.started_at is None:
        seconds = Budget.objects.values_list("max_seconds", flat=True).get(goal=goal)
        now = timezone.now()
        Goal.objects.filter(pk=goal.pk).update(started_at=now, deadline_at=now + timedelta(seconds=seconds))
        goal.started_at = now

"""claim: a queued run becomes this worker's, with a new fence and a lease. By id (a message), or the best of some queues (pull)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from .. import selectors
from ..models import Budget, Rollout, Run
from ..prepared import Prepared
from ..states import RunStatus
from ..transitions import Change, locked, repeatable

RISKY_LOSSES = 2  # a run that lost so many workers may be what kills them: one at a time in a process


@repeatable
def claim(run_id: Any, worker: str, *, risky: bool = True) -> Run | None:
    """The run that a message names; None when it is not queued any more, not due, or its goal is closed. All of that is normal."""
    named = _bearable(Run.objects.filter(pk=run_id), risky)
    goal_id = named.filter(status=RunStatus.QUEUED).values_list("goal_id", flat=True).first()
    if goal_id is None:
        return None
    with locked(goal_id, by=worker) as change:
        run = take(change, named, worker)
    return loaded(run)


@repeatable
def pull(queues: Sequence[str], worker: str, *, risky: bool = True) -> Run | None:
    """The most urgent due run of these queues; goals that somebody is writing to just now are passed over where that is possible."""
    with transaction.atomic():
        due = _bearable(selectors.due(queues), risky).select_related("goal").order_by("-priority", "queued_at")
        if connection.features.has_select_for_update_skip_locked:
            found = due.select_for_update(of=("goal",), no_key=True, skip_locked=True).first() or due.first()
        else:
            found = due.first()
        if found is None:
            return None
        with locked(found.goal_id, by=worker) as change:
            run = take(change, Run.objects.filter(pk=found.pk), worker)
    return loaded(run)


def may_go_on(change: Change, run: Run, worker: str) -> bool:
    """Before a record: may its worker go on with this goal, or have others waited on that queue?"""
    return bool(worker) and not selectors.waiting_on(run.queue, change.goal.pk).exists()


def continuation(change: Change, run: Run, worker: str) -> Run | None:
    """After a record, in its transaction: a run of the same goal and queue; first one that the record itself has queued."""
    new = [r for r in change.queued if r.queue == run.queue and r.status == RunStatus.QUEUED]
    if new and selectors.gate(change.goal) == "open":
        best = max(new, key=lambda r: r.priority)  # of several, the first
        return best if _claim(change, best, worker) else None
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
    change.hold(run)
    return run if _claim(change, run, worker) else None


def _claim(change: Change, run: Run, worker: str) -> bool:
    lease, limit = timedelta(seconds=settings.LEASE_SECONDS), timedelta(seconds=settings.RUN_DEADLINE_SECONDS[run.kind])
    rows: dict[str, Any] = {
        "fence": run.fence + 1,
        "worker": worker,
        "lease_until": Now() + lease,
        "deadline_at": Now() + limit,
    }
    if run.started_at is None:
        rows["started_at"] = Now()
        rows["base_commit"] = run.rollout.head
    change.unwake(run)
    _start_the_clock(change)
    return change.move(run, RunStatus.RUNNING, data=_about(run, worker), **rows)


def loaded(run: Run | None) -> Run | None:
    """A claimed run with all that its work needs, after the claim was committed."""
    if run is None:
        return None
    return _whole(run.pk)[0]


_whole = Prepared(
    lambda run: Run.objects.filter(pk=run).order_by().select_related("goal__repository", "rollout", "step", "plan"),
    UUID,
)


def still_mine(run: Run) -> bool:
    """Does the run still belong to the claim that `run` was read with?"""
    return Run.objects.filter(pk=run.pk, fence=run.fence, status=RunStatus.RUNNING).exists()


def current_head(run: Run) -> str:
    """The commit that the run's rollout stands at now."""
    return str(Rollout.objects.values_list("head", flat=True).get(pk=run.rollout_id))


def _bearable(runs: QuerySet[Run], risky: bool) -> QuerySet[Run]:
    """Without what may kill its worker, where the process works on such a run already."""
    return runs if risky else runs.filter(losses__lt=RISKY_LOSSES)


def _about(run: Run, worker: str) -> dict[str, Any]:
    step = {"step": run.step.index} if run.step else {}
    return {"run": str(run.pk), "attempt": run.attempt, "worker": worker, **step}


def _start_the_clock(change: Change) -> None:
    """The hours of a goal count from its first claim, not from its submission."""
    goal = change.goal
    if goal.started_at is None:
        seconds = Budget.objects.values_list("max_seconds", flat=True).get(goal=goal)
        now = timezone.now()
        change.set(goal, started_at=now, deadline_at=now + timedelta(seconds=seconds))

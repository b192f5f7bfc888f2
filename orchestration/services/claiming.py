"""claim: a queued run becomes this worker's, with a new fence and a lease. By id (a message), or the best of some queues (pull)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Case, Exists, F, IntegerField, QuerySet, Value, When
from django.db.models.functions import Least, Now
from django.utils import timezone

from .. import fairness, selectors
from ..models import Breaker, Budget, Rollout, Run
from ..prepared import Prepared
from ..retry import RISKY_LOSSES
from ..selectors import Picture
from ..states import BreakerStatus, RunStatus
from ..transitions import Change, locked, repeatable

MAX_INT = 32_767  # of the column
WITHIN_A_TEAM = ("-priority", "queued_at")


@repeatable
def claim(run_id: Any, worker: str, *, risky: bool = True, needs: Sequence[str] = ()) -> Run | None:
    """The run that a message names; None when it is not queued any more, not due, or its goal is closed. All of that is normal.

    `needs`: what this worker's runs depend on; while the breaker of any of it is not closed, nothing is claimed.
    """
    due, asked = _due_run(len(needs)), (_most_losses(risky), *needs)
    named = due.one(_as_uuid(run_id), *asked)
    if named is None:
        return None
    with locked(named.goal_id, by=worker) as change:
        run = take(change, due(named.pk, *asked), worker)
    return loaded(run)


@repeatable
def pull(
    queues: Sequence[str],
    worker: str,
    *,
    risky: bool = True,
    needs: Sequence[str] = (),
    later: Sequence[Any] = (),
    served: Sequence[Any] = (),
) -> Run | None:
    """The most urgent due run of these queues; goals that somebody is writing to just now are passed over where that is possible.

    By the goal's priority (which rises while a run waits), then teams in turns, then the step's priority, then age.
    `needs`: as for `claim`. `later`: goals whose turn comes after all others. `served`: teams that have just had their turn, the
    latest last.
    """
    with transaction.atomic():
        asked = (_most_losses(risky), *queues, *needs, *later, *served)
        shape = len(queues), len(needs), len(later), len(served)
        free = connection.features.has_select_for_update_skip_locked
        found = (_urgent(*shape, free=True).one(*asked) if free else None) or _urgent(*shape).one(*asked)
        if found is None:
            return None
        with locked(found.goal_id, by=worker, savepoint=False) as change:
            run = take(change, _due_run(0)(found.pk, _most_losses(risky)), worker)
    return loaded(run)


def _most_losses(risky: bool) -> int:
    """What may kill its worker is not for a process that works on such a run already."""
    return MAX_INT if risky else RISKY_LOSSES - 1


def _as_uuid(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(str(value))


@cache
def _due_run(needs: int) -> Prepared[Run]:
    """(id, most losses, *needs)."""

    def named(run: UUID, losses: int, *needs: str) -> QuerySet[Run]:
        due = Run.objects.filter(pk=run, losses__lte=losses, status=RunStatus.QUEUED, not_before__lte=Now())
        return _unheld(due, needs).order_by().select_related("rollout", "step", "plan")

    return Prepared(named, UUID, int, *[str] * needs)


@cache
def _urgent(queues: int, needs: int, later: int, served: int, *, free: bool = False) -> Prepared[Run]:
    """The first due run: (most losses, *queues, *needs, *later, *served). `free`: of a goal that nobody else holds; held then."""

    def first(losses: int, *asked: Any) -> QuerySet[Run]:
        due = _unheld(selectors.due(asked[:queues]).filter(losses__lte=losses), asked[queues : queues + needs])
        due = due.select_related("goal").only("id", "goal__id")
        teams, goals = asked[len(asked) - served :], asked[queues + needs : len(asked) - served]
        first = [_turn("goal", goals)] if goals else []
        due = due.order_by(*first, _urgency().desc(), *([_turn("goal__team", teams)] if teams else []), *WITHIN_A_TEAM)
        return (due.select_for_update(of=("goal",), no_key=True, skip_locked=True) if free else due)[:1]

    return Prepared(first, int, *[str] * (queues + needs), *[UUID] * (later + served))


def _unheld(runs: QuerySet[Run], needs: Sequence[str]) -> QuerySet[Run]:
    """None of them while something that the worker needs is away. A part of the same statement: claims cost no further one.

    (A continuation does not look: the run before it has just been answered.)
    """
    if not needs:
        return runs
    return runs.exclude(Exists(Breaker.objects.filter(pk__in=needs).exclude(status=BreakerStatus.CLOSED)))


def _turn(of: str, after: Sequence[Any]) -> Case:
    """Its place after those that are not named."""
    turns = [When(**{of: one}, then=Value(place)) for place, one in enumerate(after, 1)]
    return Case(*turns, default=Value(0), output_field=IntegerField())


def _urgency() -> Any:
    """`fairness.urgency` for the database."""
    step = settings.PRIORITY_RISES_SECONDS
    risen = [
        When(queued_at__lt=Now() - timedelta(seconds=step * n), then=Value(n))
        for n in range(fairness.HIGHEST, fairness.LOWEST, -1)
    ]
    waited = Case(*risen, default=Value(0), output_field=IntegerField())
    return Least(F("goal__priority") + waited, Value(fairness.HIGHEST), output_field=IntegerField())


def continuation(change: Change, run: Run, worker: str, seen: Picture) -> Run | None:
    """After a record, in its transaction: a run of the same goal and queue; first one that the record itself has queued."""
    waiting = [r for runs in seen.runs.values() for r in runs if (r.queue, r.status) == (run.queue, RunStatus.QUEUED)]
    if not worker or not waiting or selectors.gate(change.goal) != "open":
        return None
    new = [r for r in change.queued if r.queue == run.queue and r.status == RunStatus.QUEUED]
    if new:
        best = max(new, key=lambda r: r.priority)  # of several, the first
        return best if _claim(change, best, worker) else None
    same = Run.objects.filter(goal=change.goal, queue=run.queue, losses__lt=RISKY_LOSSES)
    due = same.filter(status=RunStatus.QUEUED, not_before__lte=Now()).select_related("rollout", "step", "plan")
    return take(change, due.order_by("-priority", "queued_at")[:1], worker)


def take(change: Change, due: Iterable[Run], worker: str) -> Run | None:
    """Make the first of these due runs this worker's. The caller holds the goal."""
    if selectors.gate(change.goal) != "open":
        return None
    run = next(iter(due), None)
    if run is None:
        return None
    change.hold(run)
    return run if _claim(change, run, worker) else None


def _claim(change: Change, run: Run, worker: str) -> bool:
    rows: dict[str, Any] = {
        "fence": run.fence + 1,
        "worker": worker,
        "lease_until": _from_now(settings.LEASE_SECONDS),
        "deadline_at": _from_now(settings.RUN_DEADLINE_SECONDS[run.kind]),
        "sandbox_gone_at": None,
    }
    if run.started_at is None:
        rows["started_at"] = _from_now(0)
        rows["base_commit"] = run.rollout.head
    change.unwake(run)
    _start_the_clock(change)
    return change.move(run, RunStatus.RUNNING, data=_about(run, worker), **rows)


@cache
def _from_now(seconds: float) -> Any:
    """The same object each time, so that its text is found without comparing."""
    return Now() + timedelta(seconds=seconds) if seconds else Now()


def loaded(run: Run | None) -> Run | None:
    """A claimed run with all that its work needs, after the claim was committed."""
    if run is None:
        return None
    return _whole(run.pk)[0]


def completed(run: Run, seen: Picture, before: Run) -> Run:
    """The same for a run that was claimed with its goal's picture in hand, after the run `before` of the same rollout."""
    if run.plan_id == before.plan_id:
        run.plan = before.plan
    seen.goal._state.fields_cache.pop(
        "repository", None
    )  # whether its set-up may run is for a person to change meanwhile
    return run


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

"""A worker process says that it lives: its row, and the leases of its runs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta

from django.conf import settings
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now

from ..models import Goal, Run, Worker
from ..states import TERMINAL_RUN, GoalStatus, RolloutStatus, RunStatus
from ..transitions import repeatable
from .advancing import advance_goal


@repeatable
def say_hello(
    name: str, queues: Sequence[str], threads: int, sandbox: str, model: str, needs: Sequence[str] = ()
) -> None:
    """A new worker process, what it works with and what it depends on."""
    what = {
        "queues": sorted(queues),
        "threads": threads,
        "sandbox": sandbox,
        "model": model[:200],
        "needs": list(needs),
    }
    Worker.objects.create(id=name, **what, started_at=Now(), seen_at=Now())


@repeatable
def take_leave(name: str) -> None:
    """It ended in good order: its row goes. (One that was killed is seen by its age.)"""
    Worker.objects.filter(pk=name).delete()


@repeatable
def beat(name: str, worked: Collection[str]) -> dict[tuple[str, int], str]:
    """Extend the leases of the runs that this worker works on; (run id, fence) → why it should stop, empty if it should go on.

    A run that is ours by its row but has no thread any more (it broke, or gave up without a heartbeat) is left to expire.
    """
    Worker.objects.filter(pk=name).update(seen_at=Now())
    mine = Run.objects.filter(pk__in=worked, worker=name, status=RunStatus.RUNNING)
    mine.update(lease_until=Now() + timedelta(seconds=settings.LEASE_SECONDS))
    paused = Q(goal__status=GoalStatus.PAUSED, goal__finishes_running=False)
    stops = mine.annotate(paused=ExpressionWrapper(paused, output_field=BooleanField()))
    rows = stops.values_list("pk", "fence", "paused", "goal__cancelled_at", "rollout__status")
    return {(str(pk), fence): _wanted(is_paused, asked, rollout) for pk, fence, is_paused, asked, rollout in rows}


@repeatable
def let_go(name: str, claims: Collection[tuple[str, int]]) -> None:
    """The sandboxes of these claims (run id, fence) are gone. A cancelled goal may have waited for nothing else."""
    by_fence: dict[int, list[str]] = {}
    for pk, fence in claims:
        by_fence.setdefault(fence, []).append(pk)
    for fence, pks in by_fence.items():
        ended = Run.objects.filter(pk__in=pks, fence=fence, worker=name, status__in=TERMINAL_RUN)
        ended.filter(sandbox_gone_at=None).update(sandbox_gone_at=Now())
    goals = Goal.objects.filter(runs__in=[pk for pk, _ in claims], status=GoalStatus.CANCELLING)
    for goal_id in list(goals.values_list("pk", flat=True).distinct()):
        advance_goal(goal_id)


def _wanted(paused: bool, cancelled_at: object, rollout: str) -> str:
    if cancelled_at is not None:
        return "the goal was cancelled"
    if rollout == RolloutStatus.CANCELLING:
        return "another rollout won"
    return "the goal is paused" if paused else ""

"""Reads for whoever runs the installation: queues and who serves them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import BooleanField, Count, ExpressionWrapper, Min, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, Greatest, Now
from django.utils import timezone

from ..models import Run, Worker
from ..states import GoalStatus, Queue, RunStatus

RECENT = timedelta(seconds=60)  # a worker that was seen within it lives
START_A_WORKER = "manage.py worker"
CLOSED = (GoalStatus.PAUSED, GoalStatus.CANCELLING, GoalStatus.AWAITING_APPROVAL)


@dataclass(frozen=True, slots=True)
class QueueState:
    """`oldest_seconds` is None when nothing waits; `command` starts a worker for this queue."""

    queue: str
    waiting: int
    oldest_seconds: float | None
    workers: int
    threads: int

    @property
    def command(self) -> str:
        return f"{START_A_WORKER} --queues {self.queue}"


def live_workers() -> list[Worker]:
    """Worker processes that were seen within a minute, the newest first."""
    return list(Worker.objects.filter(seen_at__gte=Now() - RECENT).order_by("-started_at"))


def known_workers() -> QuerySet[Worker]:
    """Every worker process that ever said hello and was not forgotten: is it alive, and how many runs does it work on now?"""
    works_on = Run.objects.filter(worker=OuterRef("pk"), status=RunStatus.RUNNING).order_by().values("worker")
    return Worker.objects.annotate(
        is_alive=ExpressionWrapper(Q(seen_at__gte=Now() - RECENT), output_field=BooleanField()),
        running=Coalesce(Subquery(works_on.annotate(n=Count("pk")).values("n")), 0),
    )


def queue_states(workers: Sequence[Worker] | None = None) -> list[QueueState]:
    """Each queue: what is due and nobody has begun, and how many living workers serve it."""
    alive = live_workers() if workers is None else workers
    due = Run.objects.filter(status=RunStatus.QUEUED, not_before__lte=Now(), goal__cancelled_at__isnull=True)
    rows = due.exclude(goal__status__in=CLOSED).order_by().values("queue")
    waits: dict[str, Any] = {
        row["queue"]: row for row in rows.annotate(waiting=Count("pk"), since=Min(Greatest("queued_at", "not_before")))
    }
    return [_state(queue, waits.get(queue), [worker for worker in alive if queue in worker.queues]) for queue in Queue]


def unserved_queues(workers: Sequence[Worker] | None = None) -> list[QueueState]:
    """Queues that no living worker serves, with what waits there (nothing, perhaps) and the command that starts one."""
    return [state for state in queue_states(workers) if not state.workers]


def _state(queue: Queue, waits: Any, serving: Sequence[Worker]) -> QueueState:
    oldest = None
    if waits:
        oldest = max((timezone.now() - waits["since"]).total_seconds(), 0.0)
    waiting = int(waits["waiting"]) if waits else 0
    return QueueState(queue.value, waiting, oldest, len(serving), sum(worker.threads for worker in serving))

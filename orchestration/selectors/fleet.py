"""Workers and queues as people see them: who lives, what waits for whom, and which queue nobody serves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Min, Q
from django.utils import timezone

from ..models import Run, Worker
from ..states import Queue, RunStatus
from .access import runs_for

FRESH = timedelta(seconds=60)  # a worker that said nothing for so long does not count


@dataclass(frozen=True, slots=True)
class QueueRow:
    """`waiting` runs could be claimed now; `later` ones wait for a retry's delay, or for their goal to go on."""

    name: str
    waiting: int = 0
    later: int = 0
    oldest: datetime | None = None
    workers: int = 0
    threads: int = 0

    @property
    def is_served(self) -> bool:
        return self.workers > 0

    @property
    def is_alarm(self) -> bool:
        return self.waiting > 0 and not self.is_served

    @property
    def seconds(self) -> float | None:
        return (timezone.now() - self.oldest).total_seconds() if self.oldest else None

    @property
    def command(self) -> str:
        return f"manage.py worker --queues {self.name}"


@dataclass(frozen=True, slots=True)
class WorkerRow:
    worker: Worker
    is_alive: bool
    running: int = 0
    runs: list[Run] = field(default_factory=list)  # those that this user may see

    @property
    def seconds(self) -> float:
        return (timezone.now() - self.worker.seen_at).total_seconds()


def living_workers() -> list[Worker]:
    return list(Worker.objects.filter(seen_at__gt=timezone.now() - FRESH).order_by("id"))


def queue_rows(workers: Iterable[Worker] | None = None) -> list[QueueRow]:
    """Every queue, two queries (one if the living workers are at hand)."""
    alive = living_workers() if workers is None else list(workers)
    serving = Counter(name for worker in alive for name in worker.queues)
    threads = Counter[str]()
    for worker in alive:
        threads.update(dict.fromkeys(worker.queues, worker.threads))
    due = Q(not_before__lte=timezone.now()) & ~Q(goal__status="paused")
    waiting: dict[str, Any] = {
        row["queue"]: row
        for row in Run.objects.filter(status=RunStatus.QUEUED)
        .values("queue")
        .annotate(due=Count("pk", filter=due), every=Count("pk"), oldest=Min("queued_at", filter=due))
        .order_by()
    }
    return [_row(name, waiting.get(name, {}), serving[name], threads[name]) for name in Queue.values]


def unserved_queues(rows: Iterable[QueueRow] | None = None) -> list[QueueRow]:
    """Where work waits and nobody listens: the alarm that is missed most."""
    return [row for row in (queue_rows() if rows is None else rows) if row.is_alarm]


def worker_rows(user: Any) -> list[WorkerRow]:
    """All known workers, the living first, each with what it works on now."""
    running = Run.objects.filter(status=RunStatus.RUNNING)
    counts = dict(running.values_list("worker").annotate(n=Count("pk")).order_by())
    mine: dict[str, list[Run]] = {}
    for run in runs_for(user).filter(status=RunStatus.RUNNING).select_related("step").defer("brief", "outcome"):
        mine.setdefault(run.worker, []).append(run)
    fresh = timezone.now() - FRESH
    rows = [
        WorkerRow(worker, worker.seen_at > fresh, counts.get(worker.pk, 0), mine.get(worker.pk, []))
        for worker in Worker.objects.order_by("id")
    ]
    return sorted(rows, key=lambda row: not row.is_alive)


def _row(name: str, found: dict[str, Any], workers: int, threads: int) -> QueueRow:
    due, every = found.get("due", 0), found.get("every", 0)
    return QueueRow(name, due, every - due, found.get("oldest"), workers, threads)

"""The workers as a page shows them: who lives, who fell silent, and what each works on now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count
from django.utils import timezone

from ..models import Run, Worker
from ..states import RunStatus
from .access import runs_for
from .operations import RECENT, QueueState, queue_states


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """`runs`: of what it works on, what this user may see."""

    worker: Worker
    is_alive: bool
    running: int = 0
    runs: list[Run] = field(default_factory=list)


def waiting_for_nobody(states: Iterable[QueueState] | None = None) -> list[QueueState]:
    """Queues where work waits and no worker listens: the alarm that is missed most."""
    found = queue_states() if states is None else states
    return [state for state in found if state.waiting and not state.workers]


def worker_rows(user: Any) -> list[WorkerRow]:
    """All known workers, the living first: three queries, however many there are."""
    running = Run.objects.filter(status=RunStatus.RUNNING)
    counts = dict(running.values_list("worker").annotate(n=Count("pk")).order_by())
    mine: dict[str, list[Run]] = {}
    for run in runs_for(user).filter(status=RunStatus.RUNNING).select_related("step").defer("brief", "outcome"):
        mine.setdefault(run.worker, []).append(run)
    alive_since = timezone.now() - RECENT
    rows = [
        WorkerRow(worker, worker.seen_at >= alive_since, counts.get(worker.pk, 0), mine.get(worker.pk, []))
        for worker in Worker.objects.order_by("id")
    ]
    return sorted(rows, key=lambda row: not row.is_alive)

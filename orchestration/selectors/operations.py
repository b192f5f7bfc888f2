"""Reads for whoever runs the installation: queues and who serves them, what is alive, and the numbers that are watched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import BooleanField, Count, ExpressionWrapper, Max, Min, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce, Greatest, Now
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from ..models import Call, Goal, Installation, Run, Worker
from ..states import CallKind, GoalStatus, Queue, RunKind, RunStatus

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


# ---- what is alive


def worker_age() -> float | None:
    """Seconds since any worker was last seen; None: there was none within a day."""
    return _age(Worker.objects.aggregate(at=Max("seen_at"))["at"])


def worker_lives_on(host: str) -> bool:
    """Was a worker of this machine seen within a minute?"""
    return Worker.objects.filter(pk__startswith=f"{host}:", seen_at__gte=Now() - RECENT).exists()


def beat_age() -> float | None:
    """Seconds since celery-beat last sent a tick, or began; None: never."""
    told = PeriodicTask.objects.filter(name="sweep").aggregate(sent=Max("last_run_at"), begun=Max("date_changed"))
    ticked = Installation.objects.aggregate(at=Max("beat_ticked_at"))["at"]
    return _age(max(filter(None, (told["sent"], told["begun"], ticked)), default=None))


def _age(at: datetime | None) -> float | None:
    return None if at is None else max((timezone.now() - at).total_seconds(), 0.0)


# ---- the numbers that are watched


@dataclass(frozen=True, slots=True)
class Spending:
    """What one model has been asked for. `usd` is what is known of its price; `unpriced` calls are not in it."""

    model: str
    calls: int
    prompt: int
    completion: int
    cached: int
    usd: float
    unpriced: int


def goal_counts() -> Mapping[str, int]:
    """Each status, those without a goal too."""
    found = dict(Goal.objects.order_by().values_list("status").annotate(Count("pk")))
    return {status: found.get(status, 0) for status in GoalStatus.values}


def run_counts() -> Mapping[tuple[str, str], int]:
    """(kind, status) → runs."""
    rows = Run.objects.order_by().values_list("kind", "status").annotate(count=Count("pk"))
    found = {(kind, status): count for kind, status, count in rows}
    return {
        key: found.get(key, 0) for kind in RunKind.values for status in RunStatus.values for key in [(kind, status)]
    }


def losses() -> int:
    """How often a run has lost its worker."""
    return Run.objects.aggregate(count=Sum("losses"))["count"] or 0


def spending() -> list[Spending]:
    """For each model: its calls, tokens and cost."""
    rows = Call.objects.filter(kind=CallKind.LLM).order_by().values("model")
    sums = rows.annotate(
        calls=Count("pk"),
        prompt=Sum("prompt_tokens"),
        completion=Sum("completion_tokens"),
        cached=Sum("cached_tokens"),
        usd=Sum("cost"),
        unpriced=Count("pk", filter=Q(cost__isnull=True)),
    )
    return [_spending(row) for row in sums.order_by("model")]


def _spending(row: Mapping[str, Any]) -> Spending:
    return Spending(**{**row, "usd": float(row["usd"] or 0)})


def _state(queue: Queue, waits: Any, serving: Sequence[Worker]) -> QueueState:
    oldest = None
    if waits:
        oldest = max((timezone.now() - waits["since"]).total_seconds(), 0.0)
    waiting = int(waits["waiting"]) if waits else 0
    return QueueState(queue.value, waiting, oldest, len(serving), sum(worker.threads for worker in serving))

"""What is away just now, and which queues wait for it: two small queries, one while all is well."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models.functions import Now

from ..models import Breaker, Worker
from ..states import BreakerStatus, Queue
from .operations import RECENT


@dataclass(frozen=True, slots=True)
class Outage:
    """A dependency that is away, and the queues that no living worker can serve without it."""

    breaker: Breaker
    queues: tuple[str, ...]


def outages() -> list[Outage]:
    """What is away, by name."""
    away = list(Breaker.objects.exclude(status=BreakerStatus.CLOSED))
    if not away:
        return []
    alive = Worker.objects.filter(seen_at__gte=Now() - RECENT).values_list("queues", "needs")
    serving = {queue: [set(needs) for queues, needs in alive if queue in queues] for queue in Queue.values}
    names = {row.pk for row in away}
    held = [queue for queue, needs in serving.items() if needs and all(names & each for each in needs)]
    return [Outage(row, tuple(q for q in held if any(row.pk in each for each in serving[q]))) for row in away]


def held_queues() -> dict[str, Breaker]:
    """queue → what it waits for (the first of several)."""
    return {queue: outage.breaker for outage in reversed(outages()) for queue in outage.queues}


def breaker_states() -> dict[tuple[str], float]:
    """Each dependency that ever failed: 1 while it is away."""
    rows = Breaker.objects.values_list("name", "status")
    return {(name,): float(status != BreakerStatus.CLOSED) for name, status in rows}

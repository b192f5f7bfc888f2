"""What the first page shows: who needs a person, what runs, how the last day went, what comes next. A constant number of queries."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Q
from django.db.models.functions import TruncHour
from django.utils import timezone

from ..models import RecurringGoal
from ..states import OPEN_GOAL, GoalStatus
from .access import goals_for, schedules_for
from .board import GoalRow, goal_rows
from .fleet import waiting_for_nobody
from .operations import QueueState, live_workers, queue_states
from .outages import Outage, outages
from .schedules import beat_silence, upcoming

LATELY = timedelta(hours=24)
SHOWN = 8  # rows of a part of the page; the list has the rest
LOOKED_AT = 50  # schedules whose next time is computed
WAITS = (GoalStatus.PAUSED, GoalStatus.AWAITING_APPROVAL)
CHART_HEIGHT = 32
STACK = (("s-good", ("succeeded", "unverified")), ("s-bad", ("failed",)), ("", ("cancelled",)))
DAY = ("succeeded", "unverified", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Part:
    """A rectangle of the chart: one colour of one hour's bar."""

    kind: str
    x: int
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Day:
    """How the goals of the last 24 hours ended; `hours` has one counter for each."""

    hours: list[Counter[str]]

    @property
    def counts(self) -> dict[str, int]:
        return {name: sum(hour[name] for hour in self.hours) for name in DAY}

    @property
    def ended(self) -> int:
        return sum(self.counts.values())

    @property
    def parts(self) -> list[Part]:
        return chart(self.hours)


def chart(hours: list[Counter[str]]) -> list[Part]:
    """Stacked bars from the ground up: what went well, what did not, what was cancelled."""
    tallest = max((sum(hour.values()) for hour in hours), default=0) or 1
    parts = []
    for place, hour in enumerate(hours):
        ground = float(CHART_HEIGHT)
        for kind, names in STACK:
            height = sum(hour[name] for name in names) * CHART_HEIGHT / tallest
            if height:
                ground -= height
                parts.append(Part(kind, place * 10, round(ground, 1), round(height, 1)))
    return parts


@dataclass(frozen=True, slots=True)
class Overview:
    needs: list[GoalRow]
    needs_count: int
    running: list[GoalRow]
    running_count: int
    open_count: int
    day: Day
    queues: list[QueueState]
    unserved: list[QueueState]
    outages: list[Outage]
    workers: int
    ticked_at: datetime | None
    is_beat_silent: bool
    schedules: int
    coming: list[tuple[datetime, RecurringGoal]]
    goals: int

    @property
    def is_alarmed_by_beat(self) -> bool:
        """Nobody ticks, and somebody counts on it."""
        return self.is_beat_silent and self.schedules > 0


def overview_page(user: Any) -> Overview:
    mine = goals_for(user)
    workers = live_workers()
    queues = queue_states(workers)
    alone = [state.queue for state in queues if not state.workers]
    stuck = ~Q(stuck="") & Q(status__in=OPEN_GOAL)
    failed = Q(status=GoalStatus.FAILED, ended_at__gte=timezone.now() - LATELY, retries=None)
    needs = mine.filter(Q(status__in=WAITS) | stuck | failed)
    running = mine.filter(status__in=OPEN_GOAL, stuck="").exclude(status__in=(*WAITS, GoalStatus.DRAFT))
    ticked_at, silent = beat_silence()
    schedules = list(schedules_for(user).filter(paused_at=None)[:LOOKED_AT])
    return Overview(
        needs=goal_rows(needs.order_by("created_at", "pk")[:SHOWN], alone),
        needs_count=needs.count(),
        running=goal_rows(running.order_by("-created_at", "-pk")[:SHOWN], alone),
        running_count=running.count(),
        open_count=mine.filter(status__in=OPEN_GOAL).count(),
        day=_day(mine),
        queues=queues,
        unserved=waiting_for_nobody(queues),
        outages=outages(),
        workers=len(workers),
        ticked_at=ticked_at,
        is_beat_silent=silent,
        schedules=len(schedules),
        coming=_coming(schedules),
        goals=mine.count(),
    )


def _day(mine: Any) -> Day:
    """The goals that ended in the last 24 hours, by the hour."""
    now = timezone.now()
    first = (now - LATELY).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    rows = (
        mine.filter(ended_at__gte=now - LATELY)
        .values_list(TruncHour("ended_at"), "status", "verified")
        .annotate(n=Count("pk"))
        .order_by()
    )
    hours: list[Counter[str]] = [Counter() for _ in range(24)]
    for hour, status, verified, n in rows:
        shown = "unverified" if status == GoalStatus.SUCCEEDED and not verified else str(status)
        place = int((hour - first) / timedelta(hours=1))  # what remains of the oldest hour joins the next
        hours[min(max(place, 0), 23)][shown] += n
    return Day(hours)


def _coming(schedules: list[RecurringGoal]) -> list[tuple[datetime, RecurringGoal]]:
    times = [(times[0], schedule) for schedule in schedules if (times := upcoming(schedule, 1))]
    return sorted(times, key=lambda pair: pair[0])[:5]

"""Does a step cost more when the database, or its own goal, has grown? Both curves, and docs/images/growth.svg."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from bench.machine import BASE
from bench.measure import load, median
from bench.peers.common import Shape
from bench.plot import Curve, plot
from bench.table import Figure
from orchestration.models import Event, Goal
from orchestration.services import default_team, submit_goal

GOALS = (300, 1_000, 3_000, 10_000)
EVENTS = (10, 100, 1_000, 10_000)
PICTURE = BASE / "docs" / "images" / "growth.svg"
Points = list[tuple[float, float]]


def growth(to: Any) -> list[Figure]:
    """DBOS in the same seconds shows what of a slope is the machine's."""
    goals, dbos = among_goals(to)
    events = within_a_goal(to)
    curves = [Curve("ours", "#2a6fdb", goals), Curve("DBOS, in the same seconds", "#b0642c", dbos)]
    told = [Curve("ours", "#2a6fdb", events)]
    unit = f"ms a step, load {load():.0f} on {os.cpu_count()} cores"
    PICTURE.write_text(plot([("goals in the database", curves), ("events of the goal", told)], unit))
    return [
        _figure("time per step with 10,000 goals in the database", goals, dbos),
        _figure("time per step in a goal that has 10,000 events", events),
    ]


def _figure(name: str, points: Points, beside: Points | None = None) -> Figure:
    told = [f"{size:,.0f}: {ms:.2f}" for size, ms in points]
    if beside:
        told = [
            f"{text} = {ms / peer:.1f} × DBOS" for text, (_, ms), (_, peer) in zip(told, points, beside, strict=True)
        ]
    peers = {"DBOS": beside[-1][1]} if beside else {}
    return Figure(name, "ms", points[-1][1], note=", ".join(told), peers=peers)


def among_goals(to: Any) -> tuple[Points, Points]:
    """The database fills with ended goals, which are taken away afterwards."""
    systems = [system for system in to.systems if system.name in ("ours", "DBOS")]
    found: dict[str, Points] = defaultdict(list)
    copies: list[Goal] = []
    for size in GOALS:
        copies += _ended_goals(max(size - Goal.objects.count(), 0))
        hops = defaultdict(list)
        for _ in range(5):
            for system in systems:
                hops[system.name] += system.run(Shape(20)).hops
        for name, all_hops in hops.items():
            found[name].append((Goal.objects.count(), 1000 * median(all_hops)))
    Event.objects.filter(goal__in=[goal.pk for goal in copies]).delete()
    Goal.objects.filter(pk__in=[goal.pk for goal in copies]).delete()
    return found["ours"], found["DBOS"]


def _ended_goals(number: int) -> list[Goal]:
    now, team = timezone.now(), default_team()
    goals = [
        Goal(team=team, text="ended", status="cancelled", cancelled_at=now, ended_at=now, event_seq=10)
        for _ in range(number)
    ]
    Goal.objects.bulk_create(goals, batch_size=1000)
    told = [Event(goal=goal, seq=n, kind="goal.note") for goal in goals for n in range(1, 11)]
    Event.objects.bulk_create(told, batch_size=5000)
    _analyse()
    return goals


def within_a_goal(to: Any) -> Points:
    """The sizes in turns, since nothing has to be taken away between them."""
    hops = defaultdict(list)
    for _ in range(5):
        for size in EVENTS:
            hops[size] += _hops_after(to, size)
    return [(size, 1000 * median(found)) for size, found in hops.items()]


def _hops_after(to: Any, events: int) -> list[float]:
    """Of a chain in a goal that has had so many events before its first step."""
    shape = Shape(20)
    with transaction.atomic():  # no worker sees it before its events are there
        goal = submit_goal("a long story", context=shape.as_json(), limits={"calls": 200, "tokens": 100_000})
        goal.refresh_from_db()
        told = [Event(goal=goal, seq=n, kind="goal.note") for n in range(goal.event_seq + 1, events + 1)]
        Event.objects.bulk_create(told, batch_size=5000)
        Goal.objects.filter(pk=goal.pk).update(event_seq=goal.event_seq + len(told))
    ends = time.monotonic() + 60
    while Goal.objects.filter(pk=goal.pk, ended_at__isnull=True).exists():
        if time.monotonic() > ends:
            raise TimeoutError(f"{goal} has not ended")
        time.sleep(0.05)
    return to.ours.hops()


def _analyse() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")  # what autovacuum does within a minute

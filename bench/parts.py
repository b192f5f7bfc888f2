"""What is measured with all systems up: each part returns rows of the table. Rounds are interleaved: a busy machine is so for all."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from bench.alone import ALONE
from bench.growth import growth
from bench.machine import Machine
from bench.measure import median, percentile
from bench.peers.common import Shape
from bench.prefect import prefect
from bench.systems import Result
from bench.table import Figure, against, within
from orchestration.services import submit_goal

EFFICIENT = 0.95


@dataclass(frozen=True, slots=True)
class Context:
    machine: Machine
    systems: list[Any]
    rounds: int

    @property
    def ours(self) -> Any:
        return self.systems[0]

    def each(self, shape: Shape, goals: int = 1, over: float = 0.0, rounds: int = 0) -> dict[str, list[Result]]:
        found: dict[str, list[Result]] = defaultdict(list)
        for _ in range(rounds or self.rounds):
            for system in self.systems:
                found[system.name].append(system.run(shape, goals, over))
        return found


def chain(to: Context) -> list[Figure]:
    """One goal at a time: from the begin of a step to the begin of the next."""
    figures = []
    for call, limit, name in ((None, 1.0, "without a call"), (0, 1.5, "with one journaled 0-ms call")):
        to.each(Shape(20, call=call), rounds=1)  # warm
        found = {
            n: 1000 * median([h for r in results for h in r.hops])
            for n, results in to.each(Shape(20, call=call)).items()
        }
        ours = found.pop("ours")
        figures.append(against(f"time per durable step in a chain of 20, {name}, p50", "ms", ours, found, limit))
    return figures


def shapes(to: Context) -> list[Figure]:
    """The two shapes with a model that takes its time: what a goal takes beyond it."""
    figures = []
    for call in (0, 50, 1000):
        for fan in (False, True):
            shape = Shape(8 if fan else 20, fan=fan, call=call)
            rounds = 1 if call == 1000 else 2
            longest = call / 1000 * (3 if fan else shape.steps)
            found = {
                n: 1000 * (median([g for r in results for g in r.goals]) - longest)
                for n, results in to.each(shape, rounds=rounds).items()
            }
            ours, kind = found.pop("ours"), "plan + 8 at once + review" if fan else "a chain of 20"
            note = "ours: plan and review runs too" if not fan else ""
            figures.append(
                Figure(f"{kind}, model {call} ms: time beyond the model's", "ms", ours, peers=found, note=note)
            )
    return figures


def rate(to: Context) -> list[Figure]:
    """50 goals at once, a chain of 20 each."""
    to.each(Shape(3), goals=20, rounds=1)
    found = {
        n: median([r.per_second for r in results])
        for n, results in to.each(Shape(20), 50, rounds=max(to.rounds // 2, 1)).items()
    }
    ours = found.pop("ours")
    return [against("durable steps per second, 50 goals at once", "/s", ours, found, 1.0, more_is_better=True)]


def flight(to: Context) -> list[Figure]:
    """Goals at once, begun evenly within the model's second: the most whose median is within 95 % of the model's own time."""
    figures = []
    for fan, sizes, limit in ((False, (25, 50, 100, 200, 400), 200), (True, (10, 25, 50, 100), 50)):
        shape = Shape(8 if fan else 5, fan=fan, call=1000)
        best: dict[str, float] = {}
        notes = []
        for system in to.systems:
            for goals in sizes:
                share = (3 if fan else 5) / median(system.run(shape, goals, 1.0).goals)
                if system is to.ours:
                    notes.append(f"{goals}: {share:.0%}")
                if share < EFFICIENT:
                    break
                best[system.name] = goals
        ours = best.pop("ours", 0)
        name = f"goals in flight at 1 s, {'plan + 8 + review' if fan else 'chain of 5'}, ≥ 95 % efficient"
        peers = {system.name: best.get(system.name, 0) for system in to.systems[1:]}
        figures.append(within(name, "goals", ours, limit, at_least=True, peers=peers, note=", ".join(notes)))
    return figures


def cpu(to: Context) -> list[Figure]:
    """200 goals at once, a chain of 5 with a call each."""
    result = to.ours.run(Shape(5, call=1000), 200, 1.0)
    each = {name: 1000 * seconds / len(result.marks) for name, seconds in result.cpu.items()}
    note = ", ".join(f"{name} {value:.2f}" for name, value in each.items())
    return [within("CPU per step with a call, 200 goals", "ms", sum(each.values()), 6, note=note)]


def first_byte(to: Context) -> list[Figure]:
    """From the goal's commit to its first model call, warm workers."""
    waits = []
    for _ in range(8 * to.rounds):
        goal = submit_goal("first byte", context=Shape(1, fan=True, call=0).as_json())
        committed = time.monotonic()
        key = f"step 0 of {goal.pk}"
        while key not in (book := httpx.get(f"{to.machine.model_url}/book").json()):
            time.sleep(0.02)
        waits.append(1000 * (book[key] - committed))
        goal_ended(goal)
    name = "goal's commit to first byte at the model server"
    return [
        within(f"{name}, p50", "ms", median(waits), 50),
        within(f"{name}, p95", "ms", percentile(waits, 0.95), 150),
    ]


def goal_ended(goal: Any, seconds: float = 60) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        goal.refresh_from_db()
        if goal.ended_at is not None:
            return
        time.sleep(0.02)
    raise TimeoutError(f"{goal} is {goal.status} after {seconds:g} s")


PARTS: dict[str, Callable[[Context], list[Figure]]] = {
    "chain": chain,
    "rate": rate,
    "shapes": shapes,
    "flight": flight,
    "cpu": cpu,
    "first_byte": first_byte,
    **ALONE,
    "growth": growth,
    "prefect": prefect,
}
WITH_PEERS = {"chain", "rate", "shapes", "flight", "growth"}
ASKED_FOR = () if os.environ.get("BENCH_ALL") else ("prefect",)  # what a whole run leaves out

"""What the chaos suite does to whom, and what it is given in return."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Plan:
    """What is done to whom. `seconds`: how long things are killed; the rest after it is peace."""

    goals: int = 20
    machines: int = 3
    seconds: float = 85.0
    kills: int = 32
    redis_losses: int = 2
    database_restarts: int = 1
    freezes: int = 0
    drains: int = 0
    cancels: int = 0
    best_of_3: int = 0
    refused: int = 0
    failing: float = 0.2
    think: float = 0.4
    patience: float = 120.0  # seconds of peace in which nothing has ended, and not all have: then they never will
    seed: int = 1

    def scaled(self, minutes: float) -> Plan:
        """The same in less time: as many blows a minute, at least one of each kind that there is."""
        share = minutes * 60 / self.seconds
        counts = (
            "goals",
            "kills",
            "redis_losses",
            "database_restarts",
            "freezes",
            "drains",
            "cancels",
            "best_of_3",
            "refused",
        )
        fewer = {name: max(math.ceil(getattr(self, name) * share), min(getattr(self, name), 1)) for name in counts}
        return replace(self, seconds=minutes * 60, **fewer)


QUICK = Plan()
LONG = Plan(
    goals=200, seconds=1600, kills=510, redis_losses=20, database_restarts=5, freezes=20, drains=20, cancels=30,
    best_of_3=40, refused=5, think=2.0,
)  # fmt: skip


@dataclass
class Accepted:
    """The ids that we were given, and what is expected of each."""

    plain: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def all(self) -> list[str]:
        return [*self.plain, *self.cancelled, *self.refused]


def blows(plan: Plan) -> Iterator[tuple[float, str]]:
    """(seconds from the beginning, what happens), in order: spread evenly, shuffled by the seed."""
    chance = random.Random(plan.seed)
    kinds = {
        "worker": plan.kills - plan.kills // 2,
        "supervisor": plan.kills // 2,
        "redis": plan.redis_losses,
        "database": plan.database_restarts,
        "freeze": plan.freezes,
        "drain": plan.drains,
        "cancel": plan.cancels,
    }
    what = [kind for kind, times in kinds.items() for _ in range(times)]
    chance.shuffle(what)
    yield from ((plan.seconds * (n + 1) / (len(what) + 1), kind) for n, kind in enumerate(what))

"""PURE: what was spent, in rows: an amount says beside its USD how many calls had no known price, and is never 0 for those."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from .pricing import as_text, known_usd

DAYS, MOST_DAYS = 30, 3660
BY = {
    "goal": "goal",
    "rollout": "rollout",
    "step": "step",
    "role": "role",
    "model": "model",
    "user": "user",
    "team": "team",
    "day": "day (UTC)",
}
ROLE_OF = {"plan": "planner", "step": "executor", "review": "reviewer", "judge": "judge", "exam": "clean room"}
COLUMNS = ("key", "name", "calls", "prompt_tokens", "cached_tokens", "completion_tokens", "usd", "unpriced_calls")
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Amount:
    """`micro`: of the calls whose price is known; `unpriced`: how many others there are."""

    micro: int = 0
    unpriced: int = 0

    def __str__(self) -> str:
        return known_usd(self.micro, self.unpriced)

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.micro + other.micro, self.unpriced + other.unpriced)

    @property
    def usd(self) -> str | None:
        """As JSON has it; None where nothing of it is known."""
        return None if self.unpriced and not self.micro else as_text(self.micro)


@dataclass(frozen=True, slots=True)
class CostRow:
    """What the model calls of one goal, step, model … used. `goal`: its id, where the row is a part of one."""

    key: str
    name: str
    calls: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    amount: Amount
    goal: Any = None

    def told(self) -> dict[str, Any]:
        """By COLUMNS."""
        money = {"usd": self.amount.usd, "unpriced_calls": self.amount.unpriced}
        return {name: money[name] if name in money else getattr(self, name) for name in COLUMNS}


@dataclass(frozen=True, slots=True)
class Worth:
    """What verified successes cost: `amount` is of all goals that ended, the others are paid for by those that succeeded."""

    name: str
    verified: int
    goals: int
    amount: Amount

    @property
    def each(self) -> Amount | None:
        """None without a verified success: nothing can be divided by that."""
        return Amount(-(-self.amount.micro // self.verified), self.amount.unpriced) if self.verified else None

    @property
    def said(self) -> str:
        return "no verified success" if self.each is None else str(self.each)

    def told(self) -> dict[str, Any]:
        each = self.each
        return {
            "name": self.name,
            "verified": self.verified,
            "goals": self.goals,
            "usd": self.amount.usd,
            "unpriced_calls": self.amount.unpriced,
            "usd_per_verified_success": each.usd if each else None,
        }


@dataclass(frozen=True, slots=True)
class Period:
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Costs:
    """`rows`: the dearest first (days: the newest); `more`: there are others. `total`: of all calls of the period."""

    by: str
    period: Period
    total: CostRow
    rows: Sequence[CostRow]
    more: bool
    success: Worth
    by_model: Sequence[Worth]
    by_role: Sequence[Worth]

    def told(self) -> dict[str, Any]:
        """As JSON."""
        success = {name: [worth.told() for worth in getattr(self, name)] for name in ("by_model", "by_role")}
        return {
            "by": self.by,
            "since": self.period.since.isoformat(),
            "until": self.period.until.isoformat(),
            "verified_success": self.success.told() | success,
            "total": self.total.told(),
            "more": self.more,
            "results": [row.told() for row in self.rows],
        }


def last_days(days: int, now: datetime) -> Period:
    """Today and the whole days before it, in UTC."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return Period(today - timedelta(days=days - 1), now)


def csv_lines(rows: Iterable[CostRow]) -> list[list[str]]:
    """With their heads. A cell that a spreadsheet would take for a formula begins with an apostrophe: people and models wrote it."""
    return [list(COLUMNS), *([_cell(value) for value in row.told().values()] for row in rows)]


def _cell(value: Any) -> str:
    text = "" if value is None else " ".join(str(value).split())
    return f"'{text}" if text.startswith(FORMULA) else text

"""What is left of the money of a team's month."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db.models import F, Sum
from django.utils import timezone

from ..budget import month_of
from ..models import Budget, Team, TeamMonth
from ..pricing import as_text, in_usd


@dataclass(frozen=True, slots=True)
class MonthMoney:
    """In micro-USD. `drawn`: spoken for; `held`: the part of it that open goals have not spent yet."""

    month: date
    limit: int
    drawn: int = 0
    held: int = 0
    warned_at: datetime | None = None

    @property
    def left(self) -> int:
        return max(self.limit - self.drawn, 0)

    def told(self) -> dict[str, Any]:
        """As JSON has it."""
        amounts = {"limit": self.limit, "spent": self.drawn - self.held, "held": self.held, "left": self.left}
        money = {f"{name}_usd": as_text(micro) for name, micro in amounts.items()}
        return {"month": f"{self.month:%Y-%m}", **money, "near_limit": self.warned_at is not None}

    def __str__(self) -> str:
        held = f", {in_usd(self.held)} held by open goals" if self.held else ""
        return (
            f"{in_usd(self.drawn - self.held)} of {in_usd(self.limit)} are spent in {self.month:%Y-%m} (UTC){held}, "
            f"{in_usd(self.left)} left"
        )


def month_money(team: Team) -> MonthMoney | None:
    """None: the team has no limit."""
    limit, month = team.month_max_micro_usd, month_of(timezone.now())
    if limit is None:
        return None
    row = TeamMonth.objects.filter(team=team, month=month).first()
    if row is None:
        return MonthMoney(month, limit)
    held = Budget.objects.filter(allotted_from=row).aggregate(n=Sum(F("allotted_micro_usd") - F("spent_micro_usd")))
    return MonthMoney(month, limit, row.drawn_micro_usd, max(held["n"] or 0, 0), row.warned_at)


def left_by_team(teams: Collection[Any]) -> dict[Any, int | None]:
    """Of this month, in micro-USD; None: no limit."""
    drawn = TeamMonth.objects.filter(team__in=teams, month=month_of(timezone.now())).values_list(
        "team", "drawn_micro_usd"
    )
    spoken_for = dict(drawn)
    limits = Team.objects.filter(pk__in=teams).values_list("pk", "month_max_micro_usd")
    return {team: None if most is None else most - spoken_for.get(team, 0) for team, most in limits}

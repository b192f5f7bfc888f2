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
    """In micro-USD. `limit` None: there is none, and nobody counts. `drawn`: spoken for; `held`: what of that open goals have not
    spent yet.
    """

    team: str
    month: date
    limit: int | None
    drawn: int = 0
    held: int = 0
    warned_at: datetime | None = None

    @property
    def spent(self) -> int:
        return self.drawn - self.held

    @property
    def left(self) -> int | None:
        return None if self.limit is None else max(self.limit - self.drawn, 0)

    def told(self) -> dict[str, Any]:
        """As JSON has it."""
        counted = {} if self.limit is None else {"spent": self.spent, "held": self.held, "left": self.left}
        amounts = {"limit": self.limit, "spent": None, "held": None, "left": None} | counted
        money = {f"{name}_usd": as_text(micro) for name, micro in amounts.items()}
        return {"team": self.team, "month": f"{self.month:%Y-%m}", **money, "near_limit": self.warned_at is not None}

    def __str__(self) -> str:
        if self.limit is None:
            return f"no limit for the month; set one: manage.py team limit {self.team} USD"
        held = f"{in_usd(self.held)} more are held by open goals, " if self.held else ""
        spent = f"{in_usd(self.spent)} of {in_usd(self.limit)} are spent in {self.month:%Y-%m} (UTC)"
        return f"{spent}, {held}{in_usd(self.left)} are left"


def month_money(team: Team) -> MonthMoney:
    month = month_of(timezone.now())
    row = TeamMonth.objects.filter(team=team, month=month).first() if team.month_max_micro_usd is not None else None
    if row is None:
        return MonthMoney(team.name, month, team.month_max_micro_usd)
    held = Budget.objects.filter(allotted_from=row).aggregate(n=Sum(F("allotted_micro_usd") - F("spent_micro_usd")))
    drawn = row.drawn_micro_usd, max(held["n"] or 0, 0)
    return MonthMoney(team.name, month, team.month_max_micro_usd, *drawn, row.warned_at)


def left_by_team(teams: Collection[Any]) -> dict[Any, int | None]:
    """Of this month, in micro-USD; None: no limit."""
    drawn = TeamMonth.objects.filter(team__in=teams, month=month_of(timezone.now())).values_list(
        "team", "drawn_micro_usd"
    )
    spoken_for = dict(drawn)
    limits = Team.objects.filter(pk__in=teams).values_list("pk", "month_max_micro_usd")
    return {team: None if most is None else most - spoken_for.get(team, 0) for team, most in limits}

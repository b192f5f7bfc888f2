"""A goal's share of its team's month: drawn when a call has no room left in it, given back when the goal rests or ends.

So the month's row is touched once for many calls. `TeamMonth.drawn` is what is spoken for: all that goals spent of it, and what they
still hold. Order of the rows: Budget, then TeamMonth (an older month first).
"""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Greatest
from django.utils import timezone

from .budget import allotments, month_of
from .models import Budget, Team, TeamMonth
from .pricing import in_usd
from .transitions import repeatable

REFUSED = (
    "the next model call may cost {needs}, and {left} of the {limit} are left that the team {team} may spend in {month:%Y-%m} (UTC): "
    "manage.py team limit {team} USD raises that, and the new month goes on by itself"
)


@repeatable
def draw(goal_id: Any, needs: int) -> str:
    """Room for a call that may cost `needs` micro-USD, of the month of the goal's team. Why there is none, or nothing."""
    with transaction.atomic():
        budget = Budget.objects.select_for_update(no_key=True).get(pk=goal_id)
        team = Team.objects.get(goals=goal_id)
        if not budget.open or budget.allotted_micro_usd is None:
            return ""  # something else is in the way, or nothing any more
        if team.month_max_micro_usd is None:
            budget.allotted_micro_usd = None
        else:
            month = this_month(team)
            if budget.allotted_from_id != month.pk:
                _begin_month(budget, month)
            if not _drawn(budget, month, team.month_max_micro_usd, needs):
                budget.wants_micro_usd = needs
                budget.save(update_fields=ALLOTMENT)
                return _refusal(team, month, needs)
        budget.wants_micro_usd = 0
        budget.save(update_fields=ALLOTMENT)
        return ""


def give_back(goal_id: Any, **fields: Any) -> bool:
    """The goal rests or has ended: it keeps what is spent or reserved, its team's month has the rest again. `fields`: set with it.

    Part of the caller's transaction, which holds the goal. False: its team has no limit.
    """
    budget = Budget.objects.select_for_update(no_key=True).get(pk=goal_id)
    if budget.allotted_micro_usd is not None:
        _return(budget, budget.spent_micro_usd + budget.reserved_micro_usd)
    for name, value in fields.items():
        setattr(budget, name, value)
    budget.save(update_fields=[*ALLOTMENT, *fields])
    return budget.allotted_micro_usd is not None


def shut(goal_id: Any) -> None:
    """Close the goal's gate, and give back what it holds; part of the caller's transaction, which holds the goal."""
    if not Budget.objects.filter(pk=goal_id, allotted_micro_usd=None).update(open=False):
        give_back(goal_id, open=False)


def this_month(team: Team) -> TeamMonth:
    """Its row; made by whoever needs it first."""
    key = {"team": team, "month": month_of(timezone.now())}
    TeamMonth.objects.bulk_create([TeamMonth(**key)], ignore_conflicts=True)
    return TeamMonth.objects.get(**key)


ALLOTMENT = ["allotted_micro_usd", "allotted_before_micro_usd", "allotted_from", "wants_micro_usd"]


def _begin_month(budget: Budget, month: TeamMonth) -> None:
    """What was spent stays with the month before; what is in flight is of this one, in which it will be billed."""
    _return(budget, budget.spent_micro_usd)
    budget.allotted_before_micro_usd = budget.spent_micro_usd
    budget.allotted_from = month


def _return(budget: Budget, kept: int) -> None:
    """(A provider that billed more than was reserved makes this negative: that is spent, and the month's row says so.)"""
    rest = (budget.allotted_micro_usd or 0) - kept
    if rest and budget.allotted_from_id:
        after = Greatest(F("drawn_micro_usd") - rest, 0)
        TeamMonth.objects.filter(pk=budget.allotted_from_id).update(drawn_micro_usd=after)
    budget.allotted_micro_usd = kept


def _drawn(budget: Budget, month: TeamMonth, limit: int, needs: int) -> bool:
    """By one conditional UPDATE on the month's row (two near its end: there a goal takes only what it needs)."""
    held = budget.allotted_micro_usd or 0
    missing = budget.spent_micro_usd + budget.reserved_micro_usd + needs - held
    if missing <= 0:
        return True  # a step beside it has drawn meanwhile
    for amount in allotments(limit, missing):
        room = TeamMonth.objects.filter(pk=month.pk, drawn_micro_usd__lte=limit - amount)
        if room.update(drawn_micro_usd=F("drawn_micro_usd") + amount):
            budget.allotted_micro_usd = held + amount
            return True
    return False


def _refusal(team: Team, month: TeamMonth, needs: int) -> str:
    limit = team.month_max_micro_usd or 0
    left = max(limit - TeamMonth.objects.get(pk=month.pk).drawn_micro_usd, 0)
    return REFUSED.format(needs=in_usd(needs), left=in_usd(left), limit=in_usd(limit), team=team, month=month.month)

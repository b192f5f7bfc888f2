"""What a team may spend in a month (UTC): set by people, watched by the housekeeper. Goals draw on it themselves (`allotments`)."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime, time
from typing import Any

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, Sum
from django.db.models.functions import Now
from django.utils import timezone

from ..allotments import give_back, this_month
from ..budget import month_of
from ..errors import BadInput
from ..models import Budget, Call, Goal, Run, Team, TeamMonth
from ..pricing import MICRO, in_usd, micro_usd
from ..selectors.months import left_by_team
from ..states import OPEN_GOAL, TERMINAL_GOAL, GoalStatus, RunStatus
from ..transitions import locked, repeatable
from .teams import note

log = logging.getLogger(__name__)
NO_LIMIT = "none"


@repeatable
def set_month_limit(team: Team, amount: Any, *, by: str) -> Team:
    """`amount` in USD of each calendar month; None: no limit. What the team has spent of this month counts already.

    Goals that are paused for it go on when there is room. Raises BadInput.
    """
    limit = None if amount is None else _micro(amount)
    for goal_id in _set(team, limit, by):
        enlist(goal_id)
    team.month_max_micro_usd = limit
    return team


def _micro(amount: Any) -> int:
    try:
        return micro_usd(amount)
    except ValueError as error:
        raise BadInput(str(error)) from error


def _set(team: Team, limit: int | None, by: str) -> list[Any]:
    """The goals that count from now on."""
    with transaction.atomic():
        old = Team.objects.select_for_update(no_key=True).get(pk=team.pk).month_max_micro_usd
        if old == limit:
            return []
        Team.objects.filter(pk=team.pk).update(month_max_micro_usd=limit)
        note(team, "team.month_limit", by, old=_word(old), new=_word(limit))
        if limit is None:
            _let_go(team)
        months = TeamMonth.objects.filter(team=team, month=month_of(timezone.now()))
        months.update(warned_at=None)
        return _begin(team) if old is None else []


def _word(limit: int | None) -> str:
    return NO_LIMIT if limit is None else in_usd(limit)


def _let_go(team: Team) -> None:
    nothing = {"allotted_micro_usd": None, "allotted_from": None, "allotted_before_micro_usd": 0, "wants_micro_usd": 0}
    Budget.objects.filter(goal__team=team).exclude(allotted_micro_usd=None).update(**nothing)


def _begin(team: Team) -> list[Any]:
    """What goals that are over have spent of this month is drawn; those that are open draw for themselves."""
    still_open = list(Goal.objects.filter(team=team, status__in=OPEN_GOAL).values_list("pk", flat=True))
    spent = _spent(Call.objects.filter(run__goal__team=team).exclude(run__goal__in=still_open))
    TeamMonth.objects.filter(pk=this_month(team).pk).update(drawn_micro_usd=spent)
    return still_open


def _spent(calls: Any) -> int:
    """In micro-USD, in this month."""
    begun = datetime.combine(month_of(timezone.now()), time(), UTC)
    found = calls.filter(started_at__gte=begun).aggregate(cost=Sum("cost"))["cost"]
    return round((found or 0) * MICRO)


@repeatable
def enlist(goal_id: Any) -> bool:
    """A goal that began without a limit of its team counts now, with what it has spent of this month."""
    with locked(goal_id, by="housekeeper") as change:
        team = Team.objects.get(pk=change.goal.team_id)
        budget = Budget.objects.select_for_update(no_key=True).get(pk=goal_id)
        if team.month_max_micro_usd is None or budget.allotted_micro_usd is not None:
            return False
        month, spent = this_month(team), _spent(Call.objects.filter(run__goal=goal_id))
        spent = min(spent, budget.spent_micro_usd)
        TeamMonth.objects.filter(pk=month.pk).update(
            drawn_micro_usd=F("drawn_micro_usd") + spent + budget.reserved_micro_usd
        )
        Budget.objects.filter(pk=goal_id).update(
            allotted_micro_usd=budget.spent_micro_usd + budget.reserved_micro_usd,
            allotted_before_micro_usd=budget.spent_micro_usd - spent,
            allotted_from=month,
        )
        return True


@repeatable
def return_rest(goal_id: Any) -> bool:
    """What calls that were in flight when their goal was paused have left over."""
    with locked(goal_id, by="housekeeper") as change:
        rests = change.goal.is_terminal or change.goal.status == GoalStatus.PAUSED
        return rests and give_back(goal_id)


@repeatable
def warn_of_month(pk: Any) -> bool:
    """Once a month and raise, among what changed about the team."""
    with transaction.atomic():
        month = TeamMonth.objects.select_related("team").get(pk=pk)
        limit = month.team.month_max_micro_usd
        if limit is None or not TeamMonth.objects.filter(pk=pk, warned_at=None).update(warned_at=Now()):
            return False
        drawn = f"{month.drawn_micro_usd / limit:.0%}"
        note(month.team, "team.month_warned", "housekeeper", f"{month.month:%Y-%m}", old=drawn, new=in_usd(limit))
        log.warning("team %s: %s of its %s for %s are drawn", month.team, drawn, in_usd(limit), f"{month.month:%Y-%m}")
        return True


# ---- what the housekeeper looks for


def goals_to_enlist() -> Iterable[Any]:
    """Submitted in the moment in which their team got its limit."""
    goals = Goal.objects.filter(status__in=OPEN_GOAL, budget__allotted_micro_usd=None)
    return goals.exclude(team__month_max_micro_usd=None).values_list("pk", flat=True)


def goals_with_a_rest() -> Iterable[Any]:
    kept = F("spent_micro_usd") + F("reserved_micro_usd")
    rests = Q(goal__status__in=TERMINAL_GOAL) | Q(goal__status=GoalStatus.PAUSED, open=False)
    busy = Run.objects.filter(goal=OuterRef("pk"), status=RunStatus.RUNNING)
    found = Budget.objects.filter(rests, ~Exists(busy), allotted_from__isnull=False, allotted_micro_usd__gt=kept)
    return found.values_list("pk", flat=True)


def goals_with_room_again() -> list[Any]:
    """Paused for their team's month, which has room for their next call now: a new one, a higher limit, what others gave back."""
    paused = Goal.objects.filter(status=GoalStatus.PAUSED, paused_cap="team_usd").order_by("created_at")
    waiting = list(paused.values_list("pk", "team", "budget__wants_micro_usd"))
    left = left_by_team({team for _, team, _ in waiting})
    found = []
    for pk, team, wants in waiting:
        room = left[team]
        if room is None or wants <= room:
            found.append(pk)
            left[team] = None if room is None else room - wants
    return found


def months_to_warn() -> Iterable[Any]:
    """Four fifths of the limit are drawn. (The limit divided first: it may be as large as the column.)"""
    months = TeamMonth.objects.filter(month=month_of(timezone.now()), warned_at=None)
    near = months.filter(team__month_max_micro_usd__lte=F("drawn_micro_usd") / 4 * 5)
    return near.values_list("pk", flat=True)

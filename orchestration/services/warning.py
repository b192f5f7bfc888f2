"""Four fifths of a limit are used: said once, before the goal pauses at it. Looked for by the housekeeper, never by a call."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db.models import DurationField, Exists, ExpressionWrapper, F, IntegerField, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Cast, Now

from ..budget import of_limit
from ..models import Budget
from ..selectors.hours import RESTING, goals_whose_hours_count
from ..selectors.limits import limits_of, unsaid, used_of
from ..states import OPEN_GOAL
from ..transitions import locked, repeatable

USES = {
    "max_calls": F("calls"),
    "max_tokens": F("spent_tokens"),
    "max_commands": F("commands"),
    "max_steps": F("steps"),
    "max_micro_usd": F("spent_micro_usd"),
}


def goals_near_a_limit(most: int) -> Iterable[Any]:
    """Goals at work that ought to be warned: one query, which finds a few too many, and a look at each that it found."""
    near = Q(hours_count=True, goal__deadline_at__lt=Now() + _fifth_of_time())
    for limit, used in USES.items():
        near |= Q(**{f"{limit}__lte": used / 4 * 5 + 5})
    budgets = _budgets().filter(near, goal__status__in=OPEN_GOAL - RESTING, goal__cancelled_at=None)
    columns = [field.name for field in Budget._meta.fields]
    found = budgets.only(*columns, "goal__deadline_at")
    return [row.pk for row in found if unsaid(row, hours_count=row.hours_count)][:most]


@repeatable
def warn_of_limits(goal_id: Any) -> bool:
    """One event for each limit that nears its end; a raise of it may be followed by another."""
    with locked(goal_id, by="housekeeper") as change:
        budget = _budgets().get(pk=goal_id)
        if change.goal.is_gated or not (near := unsaid(budget, hours_count=budget.hours_count)):
            return False
        used, limits = used_of(budget), limits_of(budget)
        for name in near:
            most = limits[name] or 0
            data = {"limit": name, "used": used[name], "most": most}
            change.note("budget.warned", name, reason=of_limit(name, used[name], most), data=data)
        Budget.objects.filter(pk=goal_id).update(warned=[*budget.warned, *near])
        return True


def _budgets() -> QuerySet[Any]:
    counting = Exists(goals_whose_hours_count().filter(pk=OuterRef("pk")))
    return Budget.objects.select_related("goal").annotate(hours_count=counting)


def _fifth_of_time() -> ExpressionWrapper[Any]:
    seconds = Cast("max_seconds", IntegerField())  # SQLite multiplies no other kind
    return ExpressionWrapper(seconds * Value(timedelta(seconds=0.2)), output_field=DurationField())

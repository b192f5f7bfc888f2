"""How much of each limit a goal has used, and which are nearly used up."""

from __future__ import annotations

from django.utils import timezone

from ..budget import COLUMNS, of_limit, to_warn_of
from ..models import Budget
from ..states import TERMINAL_GOAL


def limits_of(budget: Budget) -> dict[str, int | None]:
    """By name; money in micro-USD, None: no limit."""
    return {name: getattr(budget, column) for name, column in COLUMNS.items()}


def used_of(budget: Budget) -> dict[str, int]:
    """What is booked by now, by name; money in micro-USD. Time that a goal waited for a person is given back, so it is not used."""
    ends = budget.goal.deadline_at
    left = (ends - timezone.now()).total_seconds() if ends else budget.max_seconds
    return {
        "calls": budget.calls,
        "tokens": budget.spent_tokens,
        "commands": budget.commands,
        "seconds": int(budget.max_seconds - left),
        "steps": budget.steps,
        "usd": budget.spent_micro_usd,
    }


def unsaid(budget: Budget, *, hours_count: bool) -> list[str]:
    """The limits of which four fifths are used and that nobody was warned of yet."""
    limits = limits_of(budget) | ({} if hours_count else {"seconds": None})
    return to_warn_of(used_of(budget), limits, budget.warned)


def said(budget: Budget) -> list[str]:
    """What was warned of, with the figures of now; nothing once the goal is over."""
    if not budget.warned or budget.goal.status in TERMINAL_GOAL:
        return []
    used, limits = used_of(budget), limits_of(budget)
    return [of_limit(name, used[name], limits[name] or 0) for name in budget.warned]

"""prioritize: a person lets a live goal come sooner, or later."""

from __future__ import annotations

from typing import Any

from ..errors import IllegalMove
from ..models import Goal
from ..transitions import locked, repeatable
from .cleaning import clean_line
from .submitting import check_priority


@repeatable
def set_priority(goal_id: Any, priority: int, *, by: str = "shell", reason: str = "") -> Goal:
    """What waits of it is claimed by the new priority at once; what runs goes on. The same one again is no error.

    Raises BadInput for what is no priority, IllegalMove for a goal that is over.
    """
    priority, reason = check_priority(priority), clean_line(reason, "the reason", 500)
    with locked(goal_id, by=by) as change:
        goal = change.goal
        if goal.is_terminal or goal.cancelled_at is not None:
            raise IllegalMove(f"goal {goal.short_id} is {goal.status}; nothing of it waits any more")
        if goal.priority != priority:
            change.note("goal.priority", old=str(goal.priority), new=str(priority), reason=reason)
            change.set(goal, priority=priority)
        return goal

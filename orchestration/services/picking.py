"""pick: a person takes another rollout's result than the one that was selected. Every status stays as it ended."""

from __future__ import annotations

from typing import Any

from ..errors import BadInput, IllegalMove
from ..models import Goal, Rollout
from ..states import GoalStatus, RolloutStatus
from ..transitions import locked, repeatable
from .cleaning import clean_line


@repeatable
def pick_rollout(goal_id: Any, number: int, *, reason: str, by: str = "shell") -> Goal:
    """Select this rollout from now on. Raises IllegalMove where there is nothing to choose, BadInput for what cannot be chosen."""
    reason = clean_line(reason, "the reason", 500)
    if not reason:
        raise BadInput("say in a few words why this one: the reason is kept and shown")
    with locked(goal_id, by=by) as change:
        goal = change.goal
        chosen = _choosable(goal, number)
        before = Rollout.objects.get(goal=goal, pk=str(goal.selected_id))
        if chosen.pk == before.pk:
            raise IllegalMove(f"rollout {number} of goal {goal.short_id} is selected already")
        picked = {"selected_id": chosen.pk, "verified": chosen.verified, "selected_by": by, "selected_reason": reason}
        change.set(goal, **picked)
        was, now, data = f"rollout {before.number}", f"rollout {number}", {"verified": chosen.verified}
        change.note("goal.picked", now, old=was, new=now, reason=reason, data=data)
        return goal


def _choosable(goal: Goal, number: int) -> Rollout:
    """The checks' word stands: what did not succeed is there to be read, not to be selected."""
    if goal.rollouts_wanted == 1 or not goal.is_terminal:
        why = "has one rollout only" if goal.rollouts_wanted == 1 else f"is {goal.status}; wait until it has ended"
        raise IllegalMove(f"goal {goal.short_id} {why}: there is nothing to choose")
    if goal.status != GoalStatus.SUCCEEDED:
        raise IllegalMove(f"goal {goal.short_id} is {goal.status}: none of its rollouts succeeded")
    chosen = Rollout.objects.filter(goal=goal, number=number).first()
    if chosen is None:
        raise BadInput(f"goal {goal.short_id} has no rollout {number}; it has 1 to {goal.rollouts_wanted}")
    if chosen.status != RolloutStatus.SUCCEEDED:
        look = f"manage.py goal diff {goal.short_id} --rollout {number}"
        raise BadInput(f"rollout {number} is {chosen.status} and cannot be selected; look at it with: {look}")
    return chosen

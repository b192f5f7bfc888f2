"""Four eyes: who wanted something is not who allows it."""

from __future__ import annotations

from collections.abc import Collection

from ..errors import BadInput, NotAllowed
from ..models import Goal
from ..policies import policy_of

NOBODY = frozenset({"", "shell", "engine", "housekeeper"})  # no person's name


def requester(goal: Goal) -> str:
    return goal.submitted_by.get_username() if goal.submitted_by is not None else goal.origin


def refuse_two_eyes(by: str, wanted_by: Collection[str], reason: str, *, what: str, verb: str) -> None:
    """Raises NotAllowed for a requester and for who has no name, BadInput without a reason."""
    if by in NOBODY:
        raise NotAllowed(f"four eyes are wanted here, and the shell has no name: {verb} it in the panel or by the API")
    if by in wanted_by:
        raise NotAllowed(f"four eyes are wanted here: {by} wanted this {what}, so somebody else must {verb} it")
    if not reason:
        raise BadInput(f"four eyes are wanted here: say in a few words why you {verb} it")


def refuse_raise_by_two_eyes(goal: Goal, by: str, reason: str) -> None:
    """More money, time or work for a goal whose policy, or whose team, wants four eyes."""
    if policy_of(goal.approval).four_eyes or goal.team.four_eyes:
        refuse_two_eyes(by, [requester(goal)], reason, what="goal", verb="raise")

"""A goal's checks, before and after."""

from __future__ import annotations

from collections.abc import Iterable

from ..models import Check, Goal
from ..proof import Proof, pair
from ..states import CheckPhase

RESULT = frozenset({CheckPhase.FINAL, CheckPhase.CLEAN})  # the clean room runs later, so it has the last word


def proofs(goal: Goal, rows: Iterable[Check]) -> list[Proof]:
    """`rows`: its checks on the base and on one rollout's result, oldest first."""
    known = list(rows)
    before = [row for row in known if row.phase == CheckPhase.BASE]
    after = [row for row in known if row.phase in RESULT]
    return pair([*map(str, goal.checks)], [*map(str, goal.hidden_checks)], before, after)


def proofs_of(goal: Goal, rows: Iterable[Check] | None = None) -> list[Proof]:
    """On the result of the selected rollout; without one, of that which was judged last. `rows`: all its checks, if at hand."""
    found = Check.objects.filter(goal=goal).exclude(phase=CheckPhase.STEP).defer("output") if rows is None else rows
    known = sorted(found, key=lambda row: row.pk)
    judged = [row.rollout_id for row in known if row.phase in RESULT]
    shown = goal.selected_id or (judged[-1] if judged else None)
    return proofs(goal, [row for row in known if row.rollout_id in {None, shown}])

"""After a test that worked on goals: do the invariants hold of whatever it left?"""

from __future__ import annotations

from orchestration.invariants import Violation, violations
from orchestration.models import Goal
from orchestration.selectors.histories import histories
from tests.support.installation import story


def all_holds() -> None:
    """Fails with what does not hold, and the story of the first goal that it does not hold of."""
    broken: list[Violation] = []
    told = ""
    for goal, history in histories(Goal.objects.all()):
        found = violations(history)
        told = told or (story(goal) if found else "")
        broken += found
    assert not broken, "\n".join([*map(str, broken), told])

"""The audit of a whole database (and of this host's sandboxes) by the rules of `invariants`. Looks only; changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from uuid import UUID

from django.conf import settings

from agents.sandbox import registry as sandboxes

from .errors import BadInput
from .invariants import INVARIANTS, Violation, violations
from .models import Goal
from .selectors.histories import goals_twice_due, histories, months_not_drawn
from .states import TERMINAL_GOAL

SENTENCES = {name: rule.sentence for name, rule in INVARIANTS.items()} | {
    "accepted_kept": "every goal that was accepted is in the database (--accepted)",
    "month_drawn": "what goals hold and spent of a team's month is drawn from it",
    "due_once": "a due time of a schedule starts at most one goal",
    "all_ended": "every goal has ended (--at-rest)",
    "host_clean": "no sandbox of a dead worker is left on this host",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """`accepted`: ids that somebody was given; `at_rest`: nothing is expected to be going on any more."""

    goal: Goal | None = None
    accepted: frozenset[UUID] | None = None
    at_rest: bool = False

    def leaves_out(self) -> frozenset[str]:
        """The rules that nobody asked about: they are told as such, not as holding."""
        out = {"all_ended"} if not self.at_rest else set()
        if self.goal is not None:
            out |= {"accepted_kept", "month_drawn", "due_once", "host_clean"}
        elif self.accepted is None:
            out |= {"accepted_kept"}
        return frozenset(out)


def audit(asked: Asked) -> Iterator[Violation | Goal]:
    """Each goal as it has been looked at (for progress), and whatever does not hold, as it is found."""
    goals = Goal.objects.filter(pk=asked.goal.pk) if asked.goal else Goal.objects.all()
    for goal, history in histories(goals):
        yield from (Violation(v.invariant, f"{goal} {v.subject}", v.detail) for v in violations(history))
        if asked.at_rest and goal.status not in TERMINAL_GOAL:
            yield Violation("all_ended", str(goal), f"it is {goal.status}")
        yield goal
    if asked.goal is None:
        yield from _of_the_whole(asked)


def _of_the_whole(asked: Asked) -> Iterator[Violation]:
    for schedule, due_at in goals_twice_due():
        yield Violation(
            "due_once", f"schedule {str(schedule)[:8]}", f"{due_at:%Y-%m-%d %H:%M} started more than one goal"
        )
    for month in months_not_drawn():
        said = f"{month.drawn_micro_usd} micro-USD are drawn, its goals have {month.of_goals}"
        yield Violation("month_drawn", str(month), said)
    if asked.accepted is not None:
        present = set(Goal.objects.values_list("pk", flat=True))
        for lost in sorted(asked.accepted - present, key=str):
            yield Violation("accepted_kept", f"goal {str(lost)[:8]}", "it was accepted, and is not in the database")
    for folder in sandboxes.left_behind(settings.WORKSPACES_DIR):
        yield Violation("host_clean", folder.name, f"nobody owns it any more: {folder} (a worker here removes it)")


def ids_in(lines: Iterable[str]) -> frozenset[UUID]:
    """One goal's id a line, empty lines aside. Raises BadInput."""
    try:
        return frozenset(UUID(line.strip()) for line in lines if line.strip())
    except ValueError as error:
        raise BadInput(f"the list of accepted goals has a line that is no id: {error}") from error

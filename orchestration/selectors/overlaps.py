"""Which goals at work touch files that this one touches, as its story was told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..models import Event, Goal
from ..states import OPEN_GOAL


@dataclass(frozen=True, slots=True)
class Overlap:
    """`goal`: its id, empty for one of another team."""

    goal: str
    who: str
    files: list[str]


def overlaps_of(goal: Goal) -> list[Overlap]:
    """None once the goal is over, and none with one of its own team that is."""
    if goal.is_terminal:
        return []
    rows: Any = Event.objects.filter(goal=goal, kind="goal.overlaps").order_by("seq")
    found = [Overlap(row.data.get("other", ""), row.subject, list(row.data["files"])) for row in rows]
    named = [one.goal for one in found if one.goal]
    at_work = Goal.objects.filter(pk__in=named, status__in=OPEN_GOAL) if named else Goal.objects.none()
    still = {str(pk) for pk in at_work.values_list("pk", flat=True)}
    return [one for one in found if not one.goal or one.goal in still]

"""How often a run went on elsewhere: from which worker to which, why, and what of its record was replayed there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..models import Event, Goal, Run


@dataclass(frozen=True, slots=True)
class TakeOver:
    """`repeated`: calls in flight that are made once more, since nobody knows how they ended; they count as spent."""

    run: str
    at: datetime
    from_worker: str
    to_worker: str
    reason: str
    answers: int
    commands: int
    files: int
    checkpoint: str
    repeated: int


def take_overs_of(run: Run) -> list[TakeOver]:
    """Oldest first."""
    if run.fence < 2:
        return []
    return _told(Event.objects.filter(goal_id=run.goal_id, data__run=str(run.pk)))


def take_overs_in(goal: Goal) -> dict[str, list[TakeOver]]:
    """By run id."""
    found: dict[str, list[TakeOver]] = {}
    for one in _told(Event.objects.filter(goal=goal)):
        found.setdefault(one.run, []).append(one)
    return found


def _told(events: Any) -> list[TakeOver]:
    rows: Sequence[Event] = events.filter(kind="run.taken_over").order_by("seq")
    return [_take_over(row) for row in rows]


def _take_over(event: Event) -> TakeOver:
    data = event.data
    return TakeOver(
        run=str(data["run"]),
        at=event.at,
        from_worker=str(data["from"]),
        to_worker=str(data["to"]),
        reason=event.reason,
        **{name: data[name] for name in ("answers", "commands", "files", "checkpoint", "repeated")},
    )

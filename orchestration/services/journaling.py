"""What the journal tells the goal's story: that the work took another way than its record."""

from __future__ import annotations

from ..hotpath import Position
from ..models import Run
from ..transitions import locked, repeatable, subject


@repeatable
def note_divergence(run: Run, at: Position) -> None:
    """The loop asked for something else than what was recorded at that place."""
    with locked(run.goal_id, by=run.worker) as change:
        reason = f"from call {at.turn}.{at.index} on the work takes another way than what was recorded"
        change.note("journal.diverged", subject(run), reason=reason, data={"turn": at.turn, "index": at.index})

"""What the journal tells the goal's story: that a run goes on elsewhere, and that the work took another way than its record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from agents.errors import Fenced

from ..hotpath import Position
from ..models import Call, Event, Run
from ..states import CallKind, CallStatus, RunStatus
from ..transitions import locked, repeatable, subject
from .claiming import still_mine


@repeatable
def note_take_over(run: Run, recorded: Collection[Call], checkpoint: str) -> None:
    """Another claim of this run worked on it before: from whom to whom it went, why, and what of its record is replayed."""
    kinds = Counter(call.kind for call in recorded)
    with locked(run.goal_id, by=run.worker) as change:
        if not still_mine(run):
            raise Fenced(f"{run} was taken over once more")
        before, why = _before(run)
        data = {
            "run": str(run.pk),
            "attempt": run.attempt,
            "from": before,
            "to": run.worker,
            "answers": kinds[CallKind.LLM],
            "commands": kinds[CallKind.COMMAND],
            "files": kinds[CallKind.FILE],
            "checkpoint": checkpoint,
            "repeated": _in_flight(run),
            **({"step": run.step.index} if run.step else {}),
        }
        change.note("run.taken_over", subject(run), reason=why, data=data)


def _before(run: Run) -> tuple[str, str]:
    """Who had it, and why it was given back or taken away."""
    moves = Event.objects.filter(goal_id=run.goal_id, kind="run.status", data__run=str(run.pk)).order_by("-seq")
    claims = list(moves.filter(new=RunStatus.RUNNING)[:2])
    return (str(claims[1].data.get("worker", "")) if len(claims) > 1 else ""), _why(
        moves.filter(new=RunStatus.QUEUED).first()
    )


def _why(event: Event | None) -> str:
    return event.reason if event is not None else ""


def _in_flight(run: Run) -> int:
    """Calls that the claim before had begun, and whose end nobody knows: they are made once more."""
    calls = Call.objects.filter(run=run, fence__lt=run.fence)
    newest = calls.order_by("-fence").first()
    return 0 if newest is None else calls.filter(fence=newest.fence, status=CallStatus.UNKNOWN).count()


@repeatable
def note_fallback(run: Run, before: str, after: str, cause: str, error: str) -> None:
    """A model of the run's chain could not answer, and the next one is asked."""
    with locked(run.goal_id, by=run.worker) as change:
        if not still_mine(run):
            raise Fenced(f"{run} was taken over")
        step = {"step": run.step.index} if run.step else {}
        data = {"run": str(run.pk), "from": before, "to": after, "cause": cause, **step}
        change.note("model.fell_back", subject(run), reason=error[:2000], data=data)


@repeatable
def note_divergence(run: Run, at: Position) -> None:
    """The loop asked for something else than what was recorded at that place."""
    with locked(run.goal_id, by=run.worker) as change:
        reason = f"from call {at.turn}.{at.index} on the work takes another way than what was recorded"
        change.note("journal.diverged", subject(run), reason=reason, data={"turn": at.turn, "index": at.index})

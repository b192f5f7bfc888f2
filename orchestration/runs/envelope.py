"""The envelope of every run: perform it by its kind, and turn each way in which it can end into one report."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable

from agents.errors import AgentError, BudgetExceeded, Busy, Cancelled, Conflict, Fenced, SandboxLost, Transient

from .. import services
from ..active import ActiveRun
from ..journal import release_connection
from ..models import Run
from ..states import RunKind, RunStatus
from .bench import Tools
from .examining import examine
from .execution import execute
from .judging import judge
from .planning import plan
from .reviewing import review

log = logging.getLogger(__name__)
PROCEDURES: dict[str, Callable[[Tools, ActiveRun], Run | None]] = {
    RunKind.PLAN: plan,
    RunKind.STEP: execute,
    RunKind.REVIEW: review,
    RunKind.EXAM: examine,
    RunKind.JUDGE: judge,
}


def perform(tools: Tools, active: ActiveRun) -> Run | None:
    """Work a claimed run to its end and report it. The run that this worker goes on with, or None."""
    run = active.run
    try:
        return PROCEDURES[run.kind](tools, active)
    except Fenced as error:
        log.info("%s: %s", run, error)
    except Exception as error:  # noqa: BLE001 - whatever it was, the run's row must say so
        _report(active, active.stopped() if active.stop_reason else error)
    finally:
        release_connection()
    return None


def _report(active: ActiveRun, error: BaseException) -> None:
    run = active.run
    try:
        match error:
            case Fenced():
                log.info("%s: %s", run, error)
            case Cancelled():
                services.stand_down(run, str(error), let_go=not active.sandboxes)
            case Transient(outage_of=str(away)) if away and _waits(run, away, error):
                log.info("%s waits for %s: %s", run, away, error)
            case Busy():
                services.stand_down(run, str(error), delay=error.retry_after or 0.0)
            case SandboxLost():
                services.lose_sandbox(run, str(error))
            case BudgetExceeded():
                services.pause_goal(run.goal_id, cap=error.cap, reason=str(error), by=run.worker)
                services.stand_down(run, str(error))
            case Conflict():
                services.record_failure(
                    run, RunStatus.FAILED, error.kind, str(error), outcome={"files": list(error.files)}
                )
            case AgentError():
                after = error.retry_after if isinstance(error, Transient) else None
                services.record_failure(run, RunStatus.ERRORED, error.kind, str(error), retry_after=after)
            case _:
                log.error("%s broke", run, exc_info=error)
                text = "".join(traceback.format_exception(error, limit=-5))
                services.record_failure(run, RunStatus.ERRORED, "unknown", text)
    except Fenced:
        log.info("%s was taken over before it could say: %s", run, error)


def _waits(run: Run, away: str, error: Transient) -> bool:
    return services.wait_out(run, away, str(error), asked=error.retry_after)

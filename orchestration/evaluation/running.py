"""A suite through the engine: each case is a goal of this installation, worked by a worker in this very process."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from django.conf import settings

from .. import dispatch, services
from ..equipment import sandbox_provider
from ..journal import release_connection
from ..models import Goal, Run
from ..runtime import Worker
from ..states import TERMINAL_GOAL, GoalStatus, Queue, RunStatus
from .cases import Case, make_repository
from .grading import grade
from .report import Found

log = logging.getLogger(__name__)
THREADS = 4
LOOKS = 0.05  # seconds between two looks for work
SWEEPS = 5.0
Say = Callable[[str], object]


def run_suite(cases: Sequence[Case], place: Path, wish: Mapping[str, Any], say: Say) -> list[Found]:
    """Submit all, work them to their ends, and grade each. `wish`: more arguments of `submit_goal`."""
    dispatch.use(dispatch.publish_nothing)  # the one worker that there is looks by itself
    worker = Worker(Queue.values, THREADS)
    worker.keep_alive()
    try:
        goals = {case: _submit(case, place, wish) for case in cases}
        return [_graded(case, goal, say) for case, goal in _ended(worker, goals)]
    finally:
        worker.drain()


def _submit(case: Case, place: Path, wish: Mapping[str, Any]) -> Goal:
    return services.submit_goal(
        case.goal,
        repo=str(make_repository(case, place / case.name)),
        checks=case.checks,
        hidden_checks=case.hidden_checks,
        setup=case.setup,
        allow_check_edits=case.allow_check_edits,
        allow_repo=True,
        origin="evaluation",
        **wish,
    )


def _ended(worker: Worker, goals: Mapping[Case, Goal]) -> Any:
    """Each case with its goal, as they end; a goal that waits for a person has nobody to wait for."""
    left, swept = dict(goals), 0.0
    while left:
        if time.monotonic() - swept > SWEEPS:
            services.sweep()
            swept = time.monotonic()
        worker.claim_idle()
        for case, goal in list(left.items()):
            goal.refresh_from_db()
            if goal.status in TERMINAL_GOAL or _waits(goal):
                del left[case]
                yield case, goal
        release_connection()
        time.sleep(LOOKS)


def _waits(goal: Goal) -> bool:
    if goal.status not in {GoalStatus.PAUSED, GoalStatus.AWAITING_APPROVAL}:
        return False
    return not Run.objects.filter(goal=goal, status=RunStatus.RUNNING).exists()


def _graded(case: Case, goal: Goal, say: Say) -> Found:
    found = grade(sandbox_provider(), case, goal)
    say(f"  {case.name}: {found.outcome.replace('_', ' ')} after {found.seconds:.1f} s")
    return found


def model_name() -> str:
    return str(settings.LLM_ENVIRONMENT.get("LLM_MODEL") or "")

"""One life of a worker process of the crash points: it goes on with the case's goals wherever they stand, and may be killed."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from django.conf import settings
from django.db.models.functions import Now

from agents.sandbox import registry as sandboxes
from orchestration import equipment, runtime, services
from orchestration.models import Goal, Run
from orchestration.states import TERMINAL_GOAL, TERMINAL_RUN, Queue, RunStatus

from .reference import CANCEL, WORK
from .seams import Point, Seams

THREADS = 4
SECONDS = 60.0  # a life that takes longer has come to a stand


def live(case: str, dies: Callable[[Point], bool], died: Callable[[Point], None]) -> list[Point]:
    """Until both goals of the case have ended; the points that were passed. Where `dies` says so, the process is gone."""
    _time_passes()
    sandboxes.sweep(settings.WORKSPACES_DIR)
    seams = Seams(dies, died)
    seams.lay()
    seams.working(_whose)
    worker = runtime.Worker(Queue.values, THREADS)
    worker._tools = seams.tools(equipment.make_tools(worker.name))
    worker.keep_alive()
    services.sweep()
    for text in (WORK, CANCEL):
        _work(worker, _accepted(text, case), seams)
    while worker.active.all():  # a result is recorded before its sandbox is closed
        time.sleep(0.02)
    return seams.over()


def _name(goal: Goal) -> str:
    return "cancel" if goal.text.startswith(CANCEL) else "work"


def _whose(run: Run) -> str:
    """The same for the same piece of work in each case. (Of the pair, either may be the one that meets the conflict.)"""
    return f"{_name(run.goal)}: {run.kind} {run.revision}{' again' if run.attempt > 1 else ''}"


def _work(worker: runtime.Worker, goal: Goal, seams: Seams) -> None:
    """Look often and cheaply: what is passed while there is nothing to do says nothing."""
    ends = time.monotonic() + SECONDS
    due = Run.objects.filter(goal=goal, status=RunStatus.QUEUED, not_before__lte=Now())
    while goal.status not in TERMINAL_GOAL:
        seams.at(f"{_name(goal)}: {goal.status}, {goal.runs.filter(status__in=TERMINAL_RUN).count()} runs ended")
        if due.exists():
            worker.claim_idle()
        if (
            goal.text.startswith(CANCEL)
            and goal.cancelled_at is None
            and goal.runs.filter(kind="step", status=RunStatus.RUNNING).exists()
        ):
            services.cancel_goal(goal.pk)
        if time.monotonic() > ends:
            raise TimeoutError(f"{goal} is {goal.status} after {SECONDS:g} s")
        time.sleep(0.02)
        goal.refresh_from_db()


def _time_passes() -> None:
    """The leases of the dead worker run out, those of its ended runs too, and no retry has to be waited for."""
    Run.objects.exclude(lease_until=None).update(lease_until=Now() - timedelta(seconds=1))
    Run.objects.filter(status=RunStatus.QUEUED).update(not_before=Now())


def _accepted(text: str, case: str) -> Goal:
    """Submitted once: who was killed before the commit was not answered, and submits again."""
    told = f"{text}\n{case}"
    return Goal.objects.filter(text=told).first() or services.submit_goal(told)

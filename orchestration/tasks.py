"""The Celery tasks: a message says "look now". Each loads nothing but an id, and hands over to the worker of this process.

Called with other arguments (the seed's way), a task makes the rows and works that piece in this very worker.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from celery import shared_task
from celery.exceptions import Ignore

from . import by_hand, processes, services
from .states import Queue


@shared_task(name="plan_task", bind=True)
def plan_task(
    self: Any, goal: str | None = None, context: dict[str, Any] | None = None, *, run_id: str | None = None
) -> str:
    """Make the plan of a run, or of a goal given here. Returns the artifact's id, `plan-<task id>`."""
    if run_id is not None:
        processes.worker().work(run_id, Queue.PLANNING)
        return f"plan-{run_id}"
    return f"plan-{_by_hand(self, by_hand.plan, goal, context)}"


@shared_task(name="execute_step", bind=True)
def execute_step(self: Any, step: Any = None, workspace_path: str | None = None, *, run_id: str | None = None) -> str:
    """Execute a run's step, or the one given here. Returns the artifact's id, `result-<task id>`."""
    if run_id is not None:
        processes.worker().work(run_id, Queue.EXECUTION)
        return f"result-{run_id}"
    return f"result-{_by_hand(self, by_hand.execute, step, workspace_path)}"


@shared_task(name="review_result", bind=True)
def review_result(
    self: Any, result_artifact_id: str | None = None, *, run_id: str | None = None
) -> dict[str, Any] | None:
    """Review a run's rollout, or the result artifact named here: action, reasoning, suggested_changes, confidence."""
    if run_id is not None:
        processes.worker().work(run_id, Queue.REVIEW)
        return None
    return by_hand.verdict(_by_hand(self, by_hand.review, result_artifact_id))


@shared_task(name="sweep", ignore_result=True)
def sweep() -> dict[str, int]:
    """The spare of the workers' own housekeepers."""
    return services.sweep()


@shared_task(name="submit_due_goals", ignore_result=True)
def submit_due_goals() -> dict[str, int]:
    """celery-beat's tick: due times of schedules become goals."""
    return services.submit_due_goals()


def _by_hand(task: Any, work: Callable[..., None], *said: Any) -> str:
    """Work what a task was called with; the task's id. A worker that is told to stop hands the message on under the same id."""
    task_id = str(task.request.id or uuid.uuid4())
    try:
        work(processes.worker(), task_id, *said)
    except by_hand.Stopping:
        task.apply_async(task.request.args, task.request.kwargs, task_id=task_id)
        raise Ignore from None
    return task_id

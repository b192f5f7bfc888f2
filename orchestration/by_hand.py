"""A task called with a goal, a step or an artifact instead of a run's id: make the rows and work them here, without other tasks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

from agents.contracts import PlanDraft

from . import services
from .artifacts import DistributedArtifactStore
from .errors import BadInput, GoalFailed
from .journal import release_connection
from .models import Goal, Review, Run
from .states import GoalStatus, RunKind, RunStatus

POLL = 0.1


class WorksRuns(Protocol):
    @property
    def draining(self) -> bool:
        """It was told to stop, and begins nothing more."""

    def work(self, run_id: str) -> None:
        """Claim the run and work it; returns when it is over, or at once when somebody else has it."""


class Stopping(Exception):
    """This worker is told to stop: the piece is to be gone on with elsewhere, under the same task id."""


def plan(worker: WorksRuns, task_id: str, text: str | None, context: Mapping[str, Any] | None) -> None:
    """Plan a goal. `context["repo"]` must be below REPO_ROOTS: a message is not a person's command line."""
    told = dict(context or {})
    repo = told.pop("repo", None)
    goal = services.submit_piece(RunKind.PLAN, text or "", task_id=task_id, context=told, repo=repo)
    _work(worker, goal)


def execute(worker: WorksRuns, task_id: str, step: Any, workspace_path: str | None) -> None:
    """Execute one step: a text, or a mapping in CompyMac's words."""
    said = {"description": step} if isinstance(step, str) else dict(step or {})
    try:
        draft = PlanDraft.model_validate({"steps": [{"index": 0, **said, "dependencies": []}]})
    except ValueError as error:
        raise BadInput(f"the step cannot be understood: {error}") from error
    text = draft.steps[0].description
    goal = services.submit_piece(RunKind.STEP, text, task_id=task_id, repo=workspace_path, plan=draft)
    _work(worker, goal)


def review(worker: WorksRuns, task_id: str, artifact_id: str | None) -> None:
    """Review a result artifact."""
    if not artifact_id or not DistributedArtifactStore().exists(artifact_id):
        raise BadInput(f"there is no artifact {artifact_id!r}; give the id that execute_step returned")
    goal = services.submit_piece(
        RunKind.REVIEW, f"review {artifact_id}", task_id=task_id, context={"result": artifact_id}
    )
    _work(worker, goal)


def verdict(task_id: str) -> dict[str, Any]:
    """What the review that was called under this id came to."""
    found = Review.objects.filter(rollout__goal__task_id=task_id).latest("created_at")
    return {name: getattr(found, name) for name in ("action", "reasoning", "suggested_changes", "confidence")}


def _work(worker: WorksRuns, goal: Goal) -> None:
    """Work the goal's runs one after another, its retries included, until it has ended."""
    while True:
        due = Run.objects.filter(goal=goal, status=RunStatus.QUEUED).values_list("pk", flat=True).first()
        if due is not None:
            worker.work(str(due))
        goal.refresh_from_db()
        if goal.is_terminal or goal.status == GoalStatus.PAUSED:
            break
        release_connection()
        if worker.draining:
            raise Stopping
        time.sleep(POLL)
    if goal.status != GoalStatus.SUCCEEDED:
        raise GoalFailed(f"goal {goal.short_id} is {goal.status}: {goal.reason}")

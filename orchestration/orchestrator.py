"""DistributedOrchestrator: the Python API, with the seed's names. Work is done by workers; waiting is on the database."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from . import services
from .errors import NotFound
from .journal import release_connection
from .models import Goal, Review, Rollout, Run
from .states import TERMINAL_GOAL, GoalStatus, RolloutStatus, RunKind, RunStatus, Strategy

POLL = 0.1
OPTIONS = (
    *("repo", "ref", "checks", "hidden_checks", "limits", "team", "priority"),
    *("diversity", "stagger", "role_models", "review", "approval", "plan_only"),
)


class DistributedOrchestrator:
    """Hand goals to the workers of this installation.

    `context` may hold `repo` (a folder, named by you who call this) and whatever else `services.submit_goal` takes (`OPTIONS`: checks,
    limits, team, diversity, …), by the same names; the rest is told to the agents as it is. `timeout` is in seconds.
    """

    def __init__(self, timeout: float = 7200.0) -> None:
        self.timeout = timeout

    def submit(self, goal: str, context: Mapping[str, Any] | None = None) -> str:
        """The new goal's id, at once. Raises BadInput."""
        return str(self._submit(goal, context).pk)

    def execute_workflow(self, goal: str, context: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Submit and wait: plan_artifact_id, execution_results (artifact id per step, by index), review, goal_id, status.

        Raises TimeoutError, naming the goal, which goes on.
        """
        ended = self._wait(self._submit(goal, context).pk, lambda row: row.status in TERMINAL_GOAL or _waits(row))
        rollout = ended.selected or ended.rollouts.order_by("number").first()
        assert rollout is not None
        return {
            "plan_artifact_id": _plan_artifact(rollout),
            "execution_results": _results(rollout),
            "review": _review(rollout),
            "goal_id": str(ended.pk),
            "status": ended.status,
            "verified": ended.verified,
            "reason": ended.reason,
        }

    def execute_parallel_rollouts(
        self, goal: str, n: int = 3, early_termination: bool = True, *, context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Several isolated attempts. Early: the first check-verified success wins and the rest is cancelled; else the best of all.

        `winner` is None when all failed; then `reasons` says why. Raises TimeoutError, naming the goal, which goes on.
        """
        strategy = Strategy.EARLY_TERMINATION if early_termination else Strategy.BEST_OF_N
        row = self._submit(goal, context, rollouts=n, strategy=strategy)
        ended = self._wait(row.pk, lambda g: g.selected_id is not None or g.status in TERMINAL_GOAL or _waits(g))
        rollouts = list(ended.rollouts.order_by("number"))
        winner = _summary(ended.selected) if ended.selected else None
        answer: dict[str, Any] = {
            "winner": winner,
            "strategy": strategy.value,
            "goal_id": str(ended.pk),
            "status": ended.status,
        }
        if not early_termination:
            answer["results"] = [_summary(rollout) for rollout in rollouts]
        if winner is None:
            answer["reasons"] = [f"rollout {r.number}: {r.reason or r.status}" for r in rollouts]
        return answer

    def _submit(self, goal: str, context: Mapping[str, Any] | None, **more: Any) -> Goal:
        told = dict(context or {})
        for name in OPTIONS:
            if name in told:
                more[name] = told.pop(name)
        return services.submit_goal(goal, context=told, origin="python", allow_repo=True, **more)

    def _wait(self, goal_id: Any, done: Callable[[Goal], bool]) -> Goal:
        ends = time.monotonic() + self.timeout
        while True:
            goal = Goal.objects.filter(pk=goal_id).first()
            if goal is None:
                raise NotFound(f"goal {goal_id} was deleted while we waited for it")
            if done(goal):
                return goal
            if time.monotonic() > ends:
                raise TimeoutError(f"goal {goal_id} has not ended within {self.timeout:g} seconds; it goes on")
            release_connection()
            time.sleep(POLL)


def _waits(goal: Goal) -> bool:
    """It waits for a person: nothing more happens by itself."""
    return goal.status in {GoalStatus.PAUSED, GoalStatus.AWAITING_APPROVAL}


def _plan_artifact(rollout: Rollout) -> str | None:
    made = (
        Run.objects.filter(rollout=rollout, kind=RunKind.PLAN, status=RunStatus.SUCCEEDED).order_by("-revision").first()
    )
    return services.artifact_id(made) if made else None


def _results(rollout: Rollout) -> list[str | None]:
    """By index of the steps in the newest plan; a step that an earlier revision finished keeps its result."""
    plan = rollout.plans.order_by("-revision").first()
    return [_result(step) for step in plan.steps.order_by("index")] if plan else []


def _result(step: Any) -> str | None:
    while step is not None:
        made = Run.objects.filter(step=step, status=RunStatus.SUCCEEDED).first()
        if made is not None:
            return services.artifact_id(made)
        step = step.carried_from
    return None


def _review(rollout: Rollout) -> dict[str, Any] | None:
    review = Review.objects.filter(rollout=rollout).order_by("-created_at").first()
    if review is None:
        return None
    return {name: getattr(review, name) for name in ("action", "reasoning", "suggested_changes", "confidence")}


def _summary(rollout: Rollout) -> dict[str, Any]:
    return {
        "rollout_id": str(rollout.pk),
        "number": rollout.number,
        "status": rollout.status,
        "success": rollout.status == RolloutStatus.SUCCEEDED,
        "verified": rollout.verified,
        "changed_lines": rollout.changed_lines,
        "commit": rollout.head,
        "branch": rollout.branch,
        "execution_results": _results(rollout),
        "review": _review(rollout),
        "reason": rollout.reason,
    }

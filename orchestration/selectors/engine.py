"""Reads for the engine: the views that `flow` decides on, three queries each, no text and no blob in them."""

from __future__ import annotations

from django.conf import settings

from .. import flow
from ..cancelling import holds
from ..models import Goal, Review, Rollout, Run, Step
from ..states import TERMINAL_ROLLOUT, GoalStatus, RunKind, RunStatus
from .cancelling import cancel_proof


def gate(goal: Goal) -> flow.Gate:
    """May new work start? A goal that is over or being cancelled starts nothing more."""
    if goal.cancelled_at is not None or goal.is_terminal:
        return "cancelling"
    return "paused" if goal.status == GoalStatus.PAUSED else "open"


def revision_of(rollout: Rollout) -> int:
    """The newest recorded plan revision, 0 before the first."""
    newest = rollout.plans.order_by("-revision").values_list("revision", flat=True).first()
    return int(newest or 0)


def pending_verdict(rollout: Rollout, revision: int) -> Review | None:
    """The review of this revision that nobody has drawn the consequence of."""
    reviews = Review.objects.filter(rollout=rollout, acted=False, run__revision=revision)
    return reviews.order_by("-created_at").first()


def rollout_view(goal: Goal, rollout: Rollout) -> flow.RolloutView:
    """What `flow.next_actions` sees. The caller holds the goal's lock."""
    revision = revision_of(rollout)
    steps = Step.objects.filter(plan__rollout=rollout, plan__revision=revision).order_by("index")
    runs = [
        run
        for run in Run.objects.filter(rollout=rollout, revision__in=(revision, revision + 1)).order_by(
            "queued_at", "attempt"
        )
        if run.revision == (revision + 1 if run.kind == RunKind.PLAN else revision)
    ]
    review = pending_verdict(rollout, revision)
    return flow.RolloutView(
        status=rollout.status,
        gate=gate(goal),
        revision=revision,
        steps=tuple(_step_view(step) for step in steps.only(*STEP_COLUMNS)),
        runs=tuple(_run_view(run) for run in runs),
        verdict=_verdict_view(review) if review else None,
        planning=any(run.kind == RunKind.PLAN and run.status != RunStatus.CANCELLED for run in runs),
        only=goal.only,
        replans=rollout.replans,
        review_rounds=rollout.review_rounds,
        caps=flow.Caps(parallel_steps=settings.MAX_PARALLEL_STEPS),
    )


STEP_COLUMNS = ("id", "index", "status", "dependencies", "can_parallelize", "priority")


def _step_view(step: Step) -> flow.StepView:
    return flow.StepView(
        step.pk, step.index, step.status, tuple(step.dependencies), step.can_parallelize, step.priority
    )


def _run_view(run: Run) -> flow.RunView:
    return flow.RunView(
        run.pk, run.kind, run.status, run.step_id, run.error_kind, run.error[:500], run.outcome.get("retry_after")
    )


def _verdict_view(review: Review) -> flow.VerdictView:
    return flow.VerdictView(
        review.action, tuple(review.steps), review.reasoning, review.suggested_changes, review.proven
    )


def goal_view(goal: Goal, rollouts: list[Rollout]) -> flow.GoalView:
    """What `flow.decide_goal` sees; candidates are numbered in the order in which they ended."""
    ended = sorted(
        (r for r in rollouts if r.status in TERMINAL_ROLLOUT and r.ended_at), key=lambda r: (r.ended_at, r.number)
    )
    order = {rollout.pk: place for place, rollout in enumerate(ended, 1)}
    candidates = tuple(
        flow.Candidate(r.pk, r.number, r.status, r.verified, r.changed_lines, order.get(r.pk, 0), r.reason)
        for r in rollouts
    )
    return flow.GoalView(goal.status, gate(goal), goal.strategy, candidates, held=holds(cancel_proof(goal)))

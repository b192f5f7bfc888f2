"""advance: view → `flow` → apply, for one rollout and then for its goal, always under the goal's lock."""

from __future__ import annotations

import logging
import traceback
from datetime import timedelta
from typing import Any

from django.db import OperationalError
from django.db.models.functions import Now
from django.utils import timezone

from .. import flow, selectors
from ..hotpath import lose_abandoned_calls
from ..models import Budget, Goal, Review, Rollout, Run, Step
from ..states import (
    LIVE_RUN,
    OPEN_ROLLOUT,
    QUEUE_OF,
    TERMINAL_GOAL,
    TERMINAL_STEP,
    GoalStatus,
    RolloutStatus,
    RunKind,
    RunStatus,
    StepStatus,
)
from ..transitions import Change, locked, repeatable
from .planning import revise

log = logging.getLogger(__name__)
MOST_ROUNDS = 20  # decisions in one go; each makes progress, so this is only reached by a bug


@repeatable
def advance_goal(goal_id: Any) -> None:
    """Advance every open rollout of a goal, in a transaction of its own."""
    with locked(goal_id) as change:
        advance(change)


def advance(change: Change) -> None:
    """All that follows from the goal's rows now.

    If the decision itself breaks, whatever the caller recorded stays, and the goal shows as stuck with the traceback: paid work is
    never rolled back by a bug.
    """
    try:
        with change.whole():
            for rollout in Rollout.objects.filter(goal=change.goal, status__in=OPEN_ROLLOUT).order_by("number"):
                _advance_rollout(change, rollout)
            if change.goal.cancelled_at is not None:  # or what they had reserved would hold the goal
                lose_abandoned_calls(change.goal)
            _decide_goal(change)
    except OperationalError:  # a deadlock, a lock that was not to be had: the whole transaction is repeated
        raise
    except Exception:
        log.exception("goal %s is stuck", change.goal.short_id)
        change.goal.refresh_from_db()
        _mark_stuck(change, traceback.format_exc(limit=-6))
    else:
        if change.goal.stuck:
            Goal.objects.filter(pk=change.goal.pk).update(stuck="")
            change.note("goal.unstuck")
    lose_abandoned_calls(change.goal)


def _mark_stuck(change: Change, text: str) -> None:
    if change.goal.stuck != text:
        Goal.objects.filter(pk=change.goal.pk).update(stuck=text)
        change.note("goal.stuck", reason=text.strip().splitlines()[-1])


# ---- one rollout


def _advance_rollout(change: Change, rollout: Rollout) -> None:
    for _ in range(MOST_ROUNDS):
        view = selectors.rollout_view(change.goal, rollout)
        actions = flow.next_actions(view)
        for action in actions:
            _apply(change, rollout, view, action)
        if view.verdict is not None and view.gate == "open" and view.status != RolloutStatus.CANCELLING:
            Review.objects.filter(rollout=rollout, acted=False).update(acted=True)
        if not any(isinstance(action, flow.FailStep | flow.Revise) for action in actions):
            return
    raise RuntimeError(f"no rest after {MOST_ROUNDS} rounds of decisions")


def _apply(change: Change, rollout: Rollout, view: flow.RolloutView, action: flow.Action) -> None:
    match action:
        case flow.StartPlan():
            _start_plan(change, rollout, view, action)
        case flow.StartStep(step=pk, delay=delay):
            _start_step(change, rollout, view, Step.objects.get(pk=pk), delay)
        case flow.StartReview(problem=problem, delay=delay):
            _phase(change, rollout, RolloutStatus.REVIEWING)
            _queue(change, rollout, RunKind.REVIEW, view.revision, delay, brief={"problem": problem})
        case flow.FailStep(step=pk, reason=reason):
            change.move(Step.objects.get(pk=pk), StepStatus.FAILED, reason=reason)
        case flow.Revise():
            revise(change, rollout, view, action)
        case flow.CancelQueued():
            cancel_queued(change, rollout)
        case flow.Finish():
            _finish(change, rollout, action)
        case flow.Wait():
            pass


def _phase(change: Change, rollout: Rollout, status: str) -> None:
    if rollout.status != status:
        change.move(rollout, status)


def _start_plan(change: Change, rollout: Rollout, view: flow.RolloutView, action: flow.StartPlan) -> None:
    _phase(change, rollout, RolloutStatus.PLANNING)
    if action.replan:
        rollout.replans += 1
        Rollout.objects.filter(pk=rollout.pk).update(replans=rollout.replans)
        brief = {"feedback": action.feedback}
    else:
        last = (
            Run.objects.filter(rollout=rollout, kind=RunKind.PLAN, revision=view.revision + 1)
            .order_by("attempt")
            .last()
        )
        brief = {"feedback": last.brief.get("feedback", "")} if last else {}
    _queue(change, rollout, RunKind.PLAN, view.revision + 1, action.delay, brief=brief)


def _start_step(change: Change, rollout: Rollout, view: flow.RolloutView, step: Step, delay: float) -> None:
    _phase(change, rollout, RolloutStatus.RUNNING)
    if step.status == StepStatus.PENDING:
        change.move(step, StepStatus.QUEUED)
    _queue(change, rollout, RunKind.STEP, view.revision, delay, step=step, priority=step.priority)


def _queue(
    change: Change,
    rollout: Rollout,
    kind: RunKind,
    revision: int,
    delay: float,
    *,
    step: Step | None = None,
    priority: int = 5,
    brief: dict[str, str] | None = None,
) -> Run:
    """A new queued run, and a worker woken for it unless it has to wait first."""
    earlier = Run.objects.filter(rollout=rollout, kind=kind, revision=revision, step=step).exclude(
        status=RunStatus.CANCELLED
    )
    run = Run.objects.create(
        goal=change.goal,
        rollout=rollout,
        plan=step.plan if step else rollout.plans.filter(revision=revision).first(),
        step=step,
        kind=kind,
        queue=QUEUE_OF[kind],
        revision=revision,
        attempt=earlier.count() + 1,
        priority=priority,
        brief=brief or {},
        not_before=Now() + timedelta(seconds=delay),
        enqueued_at=None if delay else timezone.now(),
    )
    what = f"again in {delay:g} s" if delay else ""
    change.note("run.queued", f"{kind} run {str(run.pk)[:8]}", new="queued", reason=what, data=_whose(run, step))
    if not delay and not change.goal.only:  # a piece called by hand is worked by the task that asked for it
        change.wake(run)
    return run


def _whose(run: Run, step: Step | None) -> dict[str, Any]:
    return {"run": str(run.pk), "attempt": run.attempt, **({"step": step.index} if step else {})}


def cancel_queued(change: Change, rollout: Rollout) -> None:
    """End the runs that nobody has begun."""
    for run in Run.objects.filter(rollout=rollout, status=RunStatus.QUEUED):
        change.move(run, RunStatus.CANCELLED)


def _finish(change: Change, rollout: Rollout, action: flow.Finish) -> None:
    """The rollout ends, and its leftovers with it."""
    for run in Run.objects.filter(rollout=rollout, status__in=LIVE_RUN):
        change.move(run, RunStatus.CANCELLED, reason="its rollout ended")
    for step in Step.objects.filter(plan__rollout=rollout).exclude(status__in=TERMINAL_STEP):
        if step.status in {StepStatus.PENDING, StepStatus.QUEUED}:
            change.move(step, StepStatus.CANCELLED)
    change.move(rollout, action.status, reason=action.reason, verified=action.verified)


# ---- the goal above them


def _decide_goal(change: Change) -> None:
    goal = change.goal
    if goal.is_terminal:
        return
    rollouts = list(Rollout.objects.filter(goal=goal).order_by("number"))
    decision = flow.decide_goal(selectors.goal_view(goal, rollouts))
    by_pk = {rollout.pk: rollout for rollout in rollouts}
    for pk in decision.losers:
        _stop_loser(change, by_pk[pk])
    if decision.losers and not any(by_pk[pk].status in OPEN_ROLLOUT for pk in decision.losers):
        _decide_goal(change)
        return
    over = decision.status in TERMINAL_GOAL
    if over or decision.status == GoalStatus.CANCELLING:
        Budget.objects.filter(goal=goal).update(open=False)
    if decision.selected is not None and goal.selected_id is None:
        outcome = {"selected_id": decision.selected, "verified": decision.verified}
        Goal.objects.filter(pk=goal.pk).update(**outcome)
        goal.selected_id, goal.verified = decision.selected, decision.verified
    if decision.status != goal.status:
        asked = decision.status == GoalStatus.CANCELLED and goal.status == GoalStatus.CANCELLING
        why = goal.reason if asked else decision.reason  # why a person cancelled it outlives the stopping
        change.move(goal, decision.status, reason=why if over else "")


def _stop_loser(change: Change, rollout: Rollout) -> None:
    """The race is decided: what this rollout has queued ends now, what runs is told by its worker's next heartbeat."""
    if rollout.status != RolloutStatus.CANCELLING:
        change.move(rollout, RolloutStatus.CANCELLING, reason="another rollout won")
    _advance_rollout(change, rollout)

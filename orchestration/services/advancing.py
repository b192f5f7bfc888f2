"""advance: view → `flow` → apply, for one rollout and then for its goal, always under the goal's lock."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from typing import Any

from django.db.models.functions import Now
from django.utils import timezone

from .. import flow, scoring, selectors
from ..allotments import shut
from ..hotpath import lose_abandoned_calls
from ..models import Approval, Budget, Goal, Question, Review, Rollout, Run, Step
from ..selectors import Picture
from ..selectors.candidates import work_of
from ..selectors.forecasts import error_of
from ..states import (
    LIVE_RUN,
    OPEN_ROLLOUT,
    QUEUE_OF,
    TERMINAL_GOAL,
    TERMINAL_ROLLOUT,
    TERMINAL_STEP,
    ApprovalStatus,
    GoalStatus,
    QuestionStatus,
    RolloutStatus,
    RunKind,
    RunStatus,
    StepStatus,
)
from ..transitions import Change, is_repeated, locked, repeatable
from .planning import revise

log = logging.getLogger(__name__)
MOST_ROUNDS = 20  # decisions in one go; each makes progress, so this is only reached by a bug


@repeatable
def advance_goal(goal_id: Any) -> None:
    """Advance every open rollout of a goal, in a transaction of its own."""
    with locked(goal_id) as change:
        advance(change)


def advance(change: Change, seen: Picture | None = None) -> Picture | None:
    """All that follows from the goal's rows now; `seen`, if the caller has read them already. Returns the rows as they are then.

    If the decision itself breaks, whatever the caller recorded stays, and the goal shows as stuck with the traceback (None): paid
    work is never rolled back by a bug.
    """
    try:
        with change.part():
            seen = seen or look(change)
            working = [rollout for rollout in seen.rollouts if rollout.status not in TERMINAL_ROLLOUT]
            for rollout in seen.rollouts:
                if rollout.status in OPEN_ROLLOUT:
                    _advance_rollout(change, seen, rollout)
            if change.goal.cancelled_at is not None and change.goal.rollouts_wanted > 1:
                _unask_judges(change)
            if change.goal.status == GoalStatus.CANCELLING:  # or what they had reserved would hold the goal
                lose_abandoned_calls(change.goal)
            _decide_goal(change, seen)
    except Exception as error:
        if is_repeated(error):  # a deadlock, a lock that was not to be had: first all of it is tried again
            raise
        log.exception("goal %s is stuck", change.goal.short_id)
        change.goal.refresh_from_db()
        _mark_stuck(change, traceback.format_exc(limit=-6))
        lose_abandoned_calls(change.goal)
        return None
    if change.goal.stuck:
        Goal.objects.filter(pk=change.goal.pk).update(stuck="")
        change.note("goal.unstuck")
    if seen.abandoned or any(rollout.status in TERMINAL_ROLLOUT for rollout in working):
        lose_abandoned_calls(change.goal)
    return seen


def look(change: Change, run: Run | None = None) -> Picture:
    """The goal's rows, to be moved under its lock; `run`: the one that is reported on."""
    seen = selectors.picture(change.goal, run.pk if run else None)
    change.hold(*seen.rows)
    return seen


def _mark_stuck(change: Change, text: str) -> None:
    if change.goal.stuck != text:
        Goal.objects.filter(pk=change.goal.pk).update(stuck=text)
        change.note("goal.stuck", reason=text.strip().splitlines()[-1])


# ---- one rollout


def _advance_rollout(change: Change, seen: Picture, rollout: Rollout) -> None:
    for _ in range(MOST_ROUNDS):
        view = selectors.rollout_view(seen, rollout)
        actions = flow.next_actions(view)
        if any(step.status == StepStatus.ASKING for step in view.steps) and _begins_a_revision(actions):
            withdraw_questions(change, rollout)
        for action in actions:
            _apply(change, seen, rollout, view, action)
        heard = view.verdict is not None and not view.verdict.asks
        if heard and view.gate == "open" and view.status != RolloutStatus.CANCELLING:
            Review.objects.filter(rollout=rollout, acted=False).update(acted=True)
        if not any(isinstance(action, flow.FailStep | flow.Revise) for action in actions):
            return
        selectors.look_again(seen, rollout)
        change.hold(*seen.steps[rollout.pk], *seen.runs[rollout.pk])
    raise RuntimeError(f"no rest after {MOST_ROUNDS} rounds of decisions")


def _begins_a_revision(actions: Sequence[flow.Action]) -> bool:
    return any(isinstance(a, flow.Revise) or (isinstance(a, flow.StartPlan) and a.replan) for a in actions)


def _apply(change: Change, seen: Picture, rollout: Rollout, view: flow.RolloutView, action: flow.Action) -> None:
    match action:
        case flow.StartPlan():
            _start_plan(change, seen, rollout, view, action)
        case flow.StartStep(step=pk, delay=delay):
            _start_step(change, seen, rollout, view, seen.step(rollout, pk), delay)
        case flow.StartReview(problem=problem, delay=delay, between=between):
            _phase(change, rollout, RolloutStatus.REVIEWING)
            brief = {"problem": problem, **({"between": "yes"} if between else {})}
            _queue(change, seen, rollout, RunKind.REVIEW, view.revision, delay, brief=brief)
        case flow.StartExam(reason=reason, delay=delay):
            _queue(change, seen, rollout, RunKind.EXAM, view.revision, delay, brief={"reason": reason})
        case flow.FailStep(step=pk, reason=reason):
            change.move(seen.step(rollout, pk), StepStatus.FAILED, reason=reason)
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


def _start_plan(
    change: Change, seen: Picture, rollout: Rollout, view: flow.RolloutView, action: flow.StartPlan
) -> None:
    _phase(change, rollout, RolloutStatus.PLANNING)
    if action.replan:
        change.set(rollout, replans=rollout.replans + 1)
        brief = {"feedback": action.feedback}
    else:
        last = (
            Run.objects.filter(rollout=rollout, kind=RunKind.PLAN, revision=view.revision + 1)
            .order_by("attempt")
            .last()
        )
        brief = {"feedback": last.brief.get("feedback", "")} if last else {}
    _queue(change, seen, rollout, RunKind.PLAN, view.revision + 1, action.delay, brief=brief)


def _start_step(
    change: Change, seen: Picture, rollout: Rollout, view: flow.RolloutView, step: Step, delay: float
) -> None:
    _phase(change, rollout, RolloutStatus.RUNNING)
    if step.status == StepStatus.PENDING:
        change.move(step, StepStatus.QUEUED)
    _queue(change, seen, rollout, RunKind.STEP, view.revision, delay, step=step, priority=step.priority)


def _queue(
    change: Change,
    seen: Picture,
    rollout: Any,
    kind: RunKind,
    revision: int,
    delay: float,
    *,
    step: Step | None = None,
    priority: int = 5,
    brief: dict[str, str] | None = None,
) -> None:
    """A new queued run, and a worker woken for it unless it has to wait first."""
    runs = seen.runs[rollout.pk]
    same = [run for run in runs if run.kind == kind and run.step_id == (step.pk if step else None)]
    earlier = [run for run in same if run.revision == revision and run.status not in flow.SAYS_NOTHING]
    run = Run(
        goal=change.goal,
        rollout=rollout,
        plan_id=rollout.newest_plan if revision == rollout.revision else None,
        step=step,
        kind=kind,
        queue=QUEUE_OF[kind],
        revision=revision,
        attempt=len(earlier) + 1,
        priority=priority,
        brief=brief or {},
        not_before=_from_now(seconds=delay),
        queued_at=_from_now(microseconds=len(change.queued)),  # in this order, although they are one statement
        enqueued_at=None if delay else timezone.now(),
    )
    change.add(run)
    runs.append(run)
    what = f"again in {delay:g} s" if delay else ""
    change.note("run.queued", f"{kind} run {str(run.pk)[:8]}", new="queued", reason=what, data=_whose(run, step))
    if not delay:
        change.queued.append(run)
        if not change.goal.only:  # a piece called by hand is worked by the task that asked for it
            change.wake(run)


@cache
def _from_now(**later: float) -> Any:
    """(SQLite writes a sum with more digits, and compares texts.)"""
    return Now() + timedelta(**later) if any(later.values()) else Now()


def _whose(run: Run, step: Step | None) -> dict[str, Any]:
    return {"run": str(run.pk), "attempt": run.attempt, **({"step": step.index} if step else {})}


def cancel_queued(change: Change, rollout: Rollout) -> None:
    """End the runs that nobody has begun."""
    for run in Run.objects.filter(rollout=rollout, status=RunStatus.QUEUED):
        change.move(run, RunStatus.CANCELLED)


def withdraw_approvals(change: Change, rollout: Rollout) -> None:
    for approval in Approval.objects.filter(rollout=rollout, status=ApprovalStatus.WAITING):
        change.move(approval, ApprovalStatus.WITHDRAWN)


def withdraw_questions(change: Change, rollout: Rollout) -> None:
    """Nobody needs the answers any more."""
    for question in Question.objects.filter(step__rollout=rollout, status=QuestionStatus.WAITING):
        change.move(question, QuestionStatus.WITHDRAWN)


def _finish(change: Change, rollout: Rollout, action: flow.Finish) -> None:
    """The rollout ends, and its leftovers with it."""
    for run in Run.objects.filter(rollout=rollout, status__in=LIVE_RUN):
        change.move(run, RunStatus.CANCELLED, reason="its rollout ended")
    for step in Step.objects.filter(plan__rollout=rollout).exclude(status__in=TERMINAL_STEP):
        if step.status == StepStatus.ASKING:
            withdraw_questions(change, rollout)
        if step.status in {StepStatus.PENDING, StepStatus.QUEUED, StepStatus.ASKING}:
            change.move(step, StepStatus.CANCELLED)
    if rollout.status == RolloutStatus.AWAITING_APPROVAL:
        withdraw_approvals(change, rollout)
    compared = _compared(rollout, action) if change.goal.rollouts_wanted > 1 else {}
    change.move(rollout, action.status, reason=action.reason, verified=action.verified, **compared)


def _compared(rollout: Any, action: flow.Finish) -> dict[str, Any]:
    """What it is compared by with the other rollouts of its goal."""
    work, tokens = work_of(rollout, rollout.newest_plan)
    return {"score": scoring.score(work, failed=action.status != RolloutStatus.SUCCEEDED), "tokens": tokens}


# ---- the goal above them


def _decide_goal(change: Change, seen: Picture) -> None:
    goal = change.goal
    if goal.is_terminal:
        return
    decision = flow.decide_goal(selectors.goal_view(goal, seen.rollouts))
    losers = [seen.rollout(pk) for pk in decision.losers]
    for loser in losers:
        _stop_loser(change, seen, loser)
    if losers and not any(loser.status in OPEN_ROLLOUT for loser in losers):
        _decide_goal(change, seen)
        return
    over = decision.status in TERMINAL_GOAL
    if over:
        shut(goal.pk)
    elif decision.status == GoalStatus.CANCELLING:
        Budget.objects.filter(goal=goal).update(open=False)
    if decision.selected is not None and goal.selected_id is None:
        why_this = {"selected_by": "engine", "selected_reason": decision.because} if decision.because else {}
        change.set(goal, selected_id=decision.selected, verified=decision.verified, **why_this)
    if decision.judge:
        _ask_judge(change, seen, decision)
    if decision.status != goal.status:
        asked = decision.status == GoalStatus.CANCELLED and goal.status == GoalStatus.CANCELLING
        why = goal.reason if asked else decision.reason  # why a person cancelled it outlives the stopping
        change.move(goal, decision.status, reason=why if over else "")
    if goal.forecast and goal.status in (GoalStatus.SUCCEEDED, GoalStatus.FAILED) and goal.started_at is not None:
        change.set(goal, forecast={**goal.forecast, "error": error_of(goal)})


def _ask_judge(change: Change, seen: Picture, decision: flow.GoalDecision) -> None:
    """A run that compares equal results; it belongs to the first of them."""
    first: Any = min((seen.rollout(pk) for pk in decision.judge), key=lambda r: r.number)
    seen.runs[first.pk] = list(Run.objects.filter(rollout=first, kind=RunKind.JUDGE).order_by("attempt"))
    _queue(change, seen, first, RunKind.JUDGE, first.revision or 1, decision.delay)


def _unask_judges(change: Change) -> None:
    for run in Run.objects.filter(goal=change.goal, kind=RunKind.JUDGE, status=RunStatus.QUEUED):
        change.move(run, RunStatus.CANCELLED)


def _stop_loser(change: Change, seen: Picture, rollout: Rollout) -> None:
    """The race is decided: what this rollout has queued ends now, what runs is told by its worker's next heartbeat."""
    if rollout.status == RolloutStatus.AWAITING_APPROVAL:
        withdraw_approvals(change, rollout)
    if rollout.status != RolloutStatus.CANCELLING:
        change.move(rollout, RolloutStatus.CANCELLING, reason="another rollout won")
    _advance_rollout(change, seen, rollout)

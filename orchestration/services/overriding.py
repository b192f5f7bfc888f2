"""What a person decides against the plan or the review: a step is left out or done by hand, a verdict overridden."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils import timezone

from ..errors import BadInput, IllegalMove
from ..models import Goal, Plan, Review, Rollout, Run, Step
from ..policies import policy_of
from ..states import (
    LIVE_RUN,
    OPEN_ROLLOUT,
    TERMINAL_STEP,
    QuestionStatus,
    RolloutStatus,
    RunKind,
    RunStatus,
    StepStatus,
)
from ..transitions import Change, locked, repeatable
from .advancing import advance
from .approving import decided_by, give_time_back
from .cleaning import clean_line, printable, shown
from .controlling import pause_goal

VERDICTS = ("complete", "continue", "retry_same", "retry_with_changes", "gather_info", "replan", "stop")
SUCCEEDS = frozenset({"complete", "continue"})  # the latter where nothing is left
LONGEST_CHANGES = 4000


def skip_step(goal_id: Any, index: int, *, by: str, reason: str, rollout: int | None = None) -> Step:
    """Leave a step out; what depends on it goes on as if it were done. Raises BadInput, IllegalMove."""
    return _settle(goal_id, index, StepStatus.SKIPPED, by, reason, rollout)


def mark_done(goal_id: Any, index: int, *, by: str, reason: str, rollout: int | None = None) -> Step:
    """A step that a person has done, or that needs no doing: its work is taken to be in head. Raises BadInput, IllegalMove."""
    return _settle(goal_id, index, StepStatus.SUCCEEDED, by, reason, rollout)


@repeatable
def _settle(goal_id: Any, index: int, to: StepStatus, by: str, reason: str, number: int | None) -> Step:
    reason = _because(reason)
    with locked(goal_id, by=by) as change:
        rollout, plan = _open_plan(change.goal, number)
        step = Step.objects.filter(plan=plan, index=index).first()
        if step is None:
            raise BadInput(f"there is no step {index} in {plan}")
        if step.status in TERMINAL_STEP:
            raise IllegalMove(f"step {index} is {step.status} already")
        _end_runs(change, rollout, step)
        for question in step.questions.filter(status=QuestionStatus.WAITING):
            change.move(question, QuestionStatus.WITHDRAWN)
        by_hand: dict[str, Any] = {"commit": rollout.head, "summary": f"done by hand by {by}: {reason}"}
        change.move(step, to, reason=reason, **(by_hand if to == StepStatus.SUCCEEDED else {}))
        what = "step.skipped" if to == StepStatus.SKIPPED else "step.done_by_hand"
        change.note(what, f"step {index}", reason=reason, data={"step": index, "rollout": rollout.number})
        advance(change)
        return step


@repeatable
def override_verdict(
    goal_id: Any,
    action: str,
    *,
    by: str,
    reason: str,
    steps: Sequence[int] = (),
    changes: str = "",
    rollout: int | None = None,
) -> Goal:
    """A person's verdict in the place of the last review's; what runs of the rollout ends. `complete` makes it succeed: unverified,
    unless the review that asked for this decision stood on checks that prove the result. `continue`: with the steps that are left.

    Raises BadInput for what is no verdict, IllegalMove where there is no review to override, none of the head of now, or where a
    person has said just this already.
    """
    reason, changes = _because(reason), printable(str(changes or "").strip(), "the changes")
    if action not in VERDICTS or len(changes) > LONGEST_CHANGES:
        raise BadInput(
            f"a verdict is one of {', '.join(VERDICTS)}, not {shown(action)}; changes have at most 4000 characters"
        )
    with locked(goal_id, by=by) as change:
        goal = change.goal
        found, plan = _open_plan(goal, rollout)
        last = Review.objects.filter(rollout=found).order_by("created_at").last()
        _refuse_unreviewed(found, last, action)
        _refuse_unknown(plan, steps)
        _refuse_again(last, action, list(steps), reason, changes)
        _end_runs(change, found)
        _say(change, found, plan, last, action=action, steps=list(steps), reasoning=reason, suggested_changes=changes)
        return goal


def _say(change: Change, rollout: Rollout, plan: Plan, last: Review | None, **said: Any) -> None:
    """The newest verdict is this one, and the engine draws its consequence."""
    goal, action, by = change.goal, said["action"], change.by
    asked = last is not None and bool(last.asks) and not last.acted
    proven = last is not None and asked and last.proven and action in SUCCEEDS
    if last is not None and asked:
        give_time_back(goal, last.created_at)
    Review.objects.filter(rollout=rollout, acted=False).update(acted=True)
    Review.objects.create(rollout=rollout, plan=plan, by=by, commit=rollout.head, confidence=1.0, proven=proven, **said)
    was = last.action if last is not None else ""
    change.note("review.overridden", action, old=was[:20], new=action[:20], reason=said["reasoning"])
    advance(change)
    if action in SUCCEEDS and not proven and goal.selected_id == rollout.pk:
        Goal.objects.filter(pk=goal.pk).update(unverified_by=by)
        goal.unverified_by = by


# ---- nobody decides


def expire_verdict(review_id: Any) -> bool:
    """Nobody decided about a verdict in time: the goal's policy says whether it ends, or pauses and asks on. By the sweep."""
    goal = Goal.objects.get(rollouts__reviews=review_id)
    if policy_of(goal.approval).on_expiry == "pause":
        pause_goal(goal.pk, by="housekeeper", reason="nobody decided about a verdict in time")
    return _decide_late(review_id, goal.pk)


@repeatable
def _decide_late(review_id: Any, goal_id: Any) -> bool:
    with locked(goal_id, by="housekeeper") as change:
        late = Review.objects.filter(pk=review_id, acted=False, expires_at__lt=timezone.now())
        review = late.select_related("rollout", "plan").first()
        if review is None or review.plan is None:
            return False
        if policy_of(change.goal.approval).on_expiry == "pause":
            return bool(late.update(expires_at=decided_by(change.goal)))
        why = f"nobody decided about the verdict {review.action} until {review.expires_at:%Y-%m-%d %H:%M} UTC"
        _say(change, review.rollout, review.plan, review, action="stop", steps=[], reasoning=why)
        return True


def _because(reason: str) -> str:
    said = clean_line(reason, "the reason", 500)
    if not said:
        raise BadInput("say in a few words why: it is told in the goal's story")
    return said


def _open_plan(goal: Goal, number: int | None) -> tuple[Rollout, Plan]:
    """The rollout that was named, else the only one that is open, with its newest plan."""
    if goal.is_terminal or goal.cancelled_at is not None:
        raise IllegalMove(
            f"goal {goal.short_id} is {goal.status}, and what is over does not change: retry it, or follow it up"
        )
    rows = list(Rollout.objects.filter(goal=goal, status__in=OPEN_ROLLOUT).order_by("number"))
    chosen = [row for row in rows if number in (None, row.number)]
    if len(chosen) != 1:
        raise BadInput(f"say which rollout, one of {', '.join(str(row.number) for row in rows)}")
    rollout = chosen[0]
    if rollout.status == RolloutStatus.AWAITING_APPROVAL:
        raise IllegalMove("its plan waits for approval: edit the plan instead")
    plan = Plan.objects.filter(rollout=rollout).order_by("revision").last()
    planning = Run.objects.filter(rollout=rollout, kind=RunKind.PLAN, status__in=LIVE_RUN).exists()
    if plan is None or planning or rollout.status == RolloutStatus.CANCELLING:
        raise IllegalMove(f"{rollout} is being planned or ends; wait for it")
    return rollout, plan


def _refuse_again(last: Review | None, action: str, steps: list[int], reason: str, changes: str) -> None:
    """A second click, or the same message twice: what the first one began is not thrown away."""
    said = last and (last.run_id, last.action, last.steps, last.reasoning, last.suggested_changes)
    if last is not None and said == (None, action, steps, reason, changes):
        raise IllegalMove(f"{last.by} has said this already, and it is being done")


def _refuse_unreviewed(rollout: Rollout, last: Review | None, action: str) -> None:
    if last is None:
        raise IllegalMove("nothing of it has been reviewed yet, so there is no verdict to override")
    if action in SUCCEEDS and last.commit != rollout.head:
        raise IllegalMove(
            f"the last review was of commit {last.commit[:10]}, and head is {rollout.head[:10]}: "
            "let it be reviewed (skip the steps that are left), then override the verdict"
        )


def _refuse_unknown(plan: Plan, steps: Sequence[int]) -> None:
    known = set(Step.objects.filter(plan=plan).values_list("index", flat=True))
    if unknown := sorted(set(steps) - known):
        raise BadInput(f"there are no steps {unknown} in {plan}")


def _end_runs(change: Change, rollout: Rollout, step: Step | None = None) -> None:
    """What works on it is fenced off: its worker stops at the next heartbeat, and nothing that it still reports counts."""
    runs = Run.objects.filter(rollout=rollout, status__in=LIVE_RUN)
    for run in runs if step is None else runs.filter(step=step):
        fenced: dict[str, Any] = {"fence": run.fence + 1} if run.status == RunStatus.RUNNING else {}
        change.move(run, RunStatus.CANCELLED, reason=f"{change.by} decided otherwise", **fenced)

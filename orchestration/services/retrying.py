"""retry: a new goal for an ended one, that carries its finished steps: all of them, or those that its step k had started from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from ..errors import BadInput, IllegalMove
from ..lineage import Finished, contained, with_dependents
from ..models import Check, Event, Goal, Plan, Rollout, Run, Step
from ..states import FINISHED_STEP, ApprovalStatus, CheckPhase, RunStatus, StepStatus
from ..transitions import Change, locked, repeatable
from .admission import line_up
from .advancing import advance
from .approving import ask_about
from .following import start_from
from .planning import carry_over
from .submitting import WISHES, add_budget, add_rollouts, limits_of, limits_within

RETRIED = ("text", "context", "base_ref", "follow_up_of", "submitted_by")


@repeatable
def retry_goal(
    goal_id: Any,
    *,
    by: str = "shell",
    limits: Mapping[str, Any] | None = None,
    from_step: int | None = None,
    rollout: int | None = None,
) -> Goal:
    """A new goal for an ended one: its first plan carries the finished steps with their commits, at no cost.

    `from_step`: do this step again, and what came after it: the work starts from the commit that the step had started from, and
    only steps that are in that commit are carried. `rollout`: whose steps; by default those of the furthest one.
    """
    old = Goal.objects.get(pk=goal_id)
    if not old.is_terminal:
        raise IllegalMove(f"goal {old.short_id} is {old.status}; only an ended goal can be retried (cancel it first)")
    if old.only:
        raise IllegalMove(f"goal {old.short_id} is one piece of work that a task was called with: call the task again")
    source = _source(old, rollout)
    base = _start_of(_step(source, from_step)) if from_step is not None else ""
    was_run = old.plan_only and old.approvals.filter(status=ApprovalStatus.APPROVED).exists()
    with transaction.atomic():
        goal = Goal.objects.create(
            plan_only=old.plan_only and not was_run,
            **{name: getattr(old, name) for name in (*WISHES, *RETRIED)},
            retry_of=old,
            origin="retry",
        )
        add_budget(goal, limits_within(limits) if limits else limits_of(old))
        with locked(goal.pk, by=by) as change:
            where = "" if from_step is None else f" from step {from_step}"
            change.note("goal.submitted", str(goal), new=goal.status, reason=f"a retry of goal {old.short_id}{where}")
            add_rollouts(change.goal)
            if from_step is not None:
                _carry(change, old, source, base, _kept(source, base, from_step))
            elif Step.objects.filter(plan__rollout__goal=old, status__in=FINISHED_STEP).exists():
                _carry(change, old, source, source.head, None)
            elif old.follow_up_of_id and not old.base_ref and source.head:
                start_from(change.goal, old, source)
            line_up(change, old.team)
            advance(change)
            return change.goal


def _source(old: Goal, number: int | None) -> Rollout:
    """The rollout that was asked for, else the one whose step finished last, else the first."""
    if number is not None:
        found = Rollout.objects.filter(goal=old, number=number).first()
        if found is None:
            raise BadInput(f"goal {old.short_id} has no rollout {number}; it has 1 to {old.rollouts_wanted}")
        return found
    done = Step.objects.filter(plan__rollout__goal=old, status__in=FINISHED_STEP).order_by("ended_at").last()
    return done.rollout if done is not None else old.rollouts.get(number=1)


def _step(source: Rollout, index: int) -> Step:
    """Step k of the newest plan."""
    plan = Plan.objects.filter(rollout=source).order_by("revision").last()
    if plan is None:
        raise BadInput(f"{source} has no plan, so there is no step {index} to retry it from")
    known = sorted(Step.objects.filter(plan=plan).values_list("index", flat=True))
    if index not in known:
        raise BadInput(f"there is no step {index} in {plan}; its steps are {', '.join(map(str, known))}")
    return Step.objects.get(plan=plan, index=index)


def _start_of(step: Step) -> str:
    """The commit that the step's run started from: of the run that succeeded, else of the last one."""
    asked: Step | None = step
    while asked is not None:
        begun = Run.objects.filter(step=asked).exclude(base_commit="").order_by("started_at")
        if run := begun.filter(status=RunStatus.SUCCEEDED).last() or begun.last():
            return run.base_commit
        asked = asked.carried_from if asked.carried_from and asked.carried_from.rollout_id == step.rollout_id else None
    raise BadInput(
        f"step {step.index} was never begun in goal {str(step.rollout.goal_id)[:8]}, so the commit that it starts from is not known; "
        "retry without a step, or from one that was begun"
    )


def _kept(source: Rollout, base: str, again: int) -> set[Any]:
    steps = list(Step.objects.filter(plan=source.plans.latest("revision")))
    line = _line(source)
    finished = [
        Finished(step.pk, step.index, step.commit, inherited=step.commit not in line and _is_inherited(step))
        for step in steps
        if step.status in FINISHED_STEP
    ]
    without = with_dependents(again, {step.index: step.dependencies for step in steps})
    try:
        return contained(line, base, finished, without)
    except LookupError:
        raise BadInput(f"step {again} started from {base[:10]}, which is not on the line of {source}") from None


def _line(source: Rollout) -> list[str]:
    """The heads of a rollout in their order: where it started, then each step's commit, as its events number them."""
    runs = Run.objects.filter(rollout=source)
    first = runs.exclude(base_commit="").order_by("started_at").values_list("base_commit", flat=True).first()
    commits = {str(pk): commit for pk, commit in runs.exclude(step=None).values_list("pk", "commit") if commit}
    ended = Event.objects.filter(goal_id=source.goal_id, kind="run.status", new=RunStatus.SUCCEEDED).order_by("seq")
    recorded = [commits[data["run"]] for data in ended.values_list("data", flat=True) if data.get("run") in commits]
    return [*filter(None, [first]), *recorded]


def _is_inherited(step: Step) -> bool:
    """Skipped, or finished in the goal that this one retried."""
    origin = step
    while origin.carried_from is not None:
        origin = origin.carried_from
    return step.status == StepStatus.SKIPPED or origin.rollout_id != step.rollout_id


def _carry(change: Change, old: Goal, source: Rollout, head: str, kept: set[Any] | None) -> None:
    """The old goal's base with its checks there, and its steps; the work starts from `head`. `kept` None: whatever is finished."""
    if not old.base_sha:
        return
    goal, newest = change.goal, source.plans.latest("revision")
    goal.base_sha, goal.base_bundle, goal.model = old.base_sha, old.base_bundle, old.model
    goal.save(update_fields=["base_sha", "base_bundle", "model"])
    for check in Check.objects.filter(goal=old, phase=CheckPhase.BASE):
        check.pk, check.goal, check.run = None, goal, None
        check.save(force_insert=True)
    goal.rollouts.update(head=old.base_sha)
    first = goal.rollouts.get(number=1)
    # bundles are cumulative: the one of the last head holds every head before it
    Rollout.objects.filter(pk=first.pk).update(
        head=head, head_bundle=None if head == old.base_sha else source.head_bundle
    )
    plan = carry_over(change, first, list(newest.steps.order_by("index")), kept)
    ask_about(change, plan)

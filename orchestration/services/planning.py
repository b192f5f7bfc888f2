"""Plan revisions: immutable once recorded; a new one carries over what is finished."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from typing import Any

from agents.contracts import PlanDraft, StepDraft

from .. import flow
from ..errors import BadInput
from ..models import Plan, Rollout, Step
from ..states import FINISHED_STEP, PlanOrigin, StepStatus
from ..transitions import Change

DRAFT_FIELDS = tuple(name for name in StepDraft.model_fields if name != "check")


def add_plan(change: Change, rollout: Rollout, revision: int, draft: PlanDraft, origin: PlanOrigin) -> Plan:
    """Record a revision with all its steps pending."""
    steps = [_step_of(step) for step in draft.steps]
    return _insert(change, rollout, revision, steps, origin, draft.summary)


def revise(change: Change, rollout: Rollout, view: flow.RolloutView, action: flow.Revise) -> Plan:
    """A verdict's new revision: the named steps again, the unfinished too, the rest carried over as it is."""
    old = list(Step.objects.filter(plan__rollout=rollout, plan__revision=view.revision).order_by("index"))
    steps = [_revised(step, action) for step in old]
    if action.kind == "gather_info":
        question = _question(max(step.index for step in old) + 1, action.guidance)
        for step in steps:
            if step.index in action.steps:
                step.dependencies = [*step.dependencies, question.index]
        steps.append(question)
    Rollout.objects.filter(pk=rollout.pk).update(review_rounds=rollout.review_rounds + 1)
    rollout.review_rounds += 1
    return _insert(change, rollout, view.revision + 1, steps, PlanOrigin.REVIEW, f"after a review: {action.kind}")


def carry_over(change: Change, rollout: Rollout, source: Sequence[Step], kept: Collection[Any] | None = None) -> Plan:
    """The first plan of a goal that retries an ended one: finished steps (those of `kept`) keep their commits and cost nothing."""
    done = {step.pk for step in source if step.status in FINISHED_STEP} if kept is None else kept
    steps = [_copy(step, keep=step.pk in done) for step in source]
    return _insert(change, rollout, 1, steps, PlanOrigin.RETRY, "carried over from the goal that this one retries")


def edited(change: Change, old: Plan, draft: PlanDraft) -> Plan:
    """A person's new revision of a plan. What is done stays as it is. Raises BadInput where the draft changes that, or nothing."""
    before = list(Step.objects.filter(plan=old).order_by("index"))
    done = {step.index: step for step in before if step.status in FINISHED_STEP}
    wanted = {step.index: step for step in draft.steps}
    if changed := sorted(index for index, step in done.items() if wanted.get(index) != draft_of(step)):
        raise BadInput(f"the steps {changed} are done already: leave them in the plan as they are")
    if list(draft.steps) == [draft_of(step) for step in before]:
        raise BadInput("the plan is the same as before: nothing was edited")
    steps = [_copy(done[s.index], keep=True) if s.index in done else _step_of(s) for s in draft.steps]
    summary = draft.summary or old.summary
    return _insert(change, old.rollout, old.revision + 1, steps, PlanOrigin.PERSON, summary)


def draft_of(step: Step) -> StepDraft:
    """A step's row in the language of the seam."""
    return StepDraft(**{name: getattr(step, name) for name in DRAFT_FIELDS}, check=step.check_command)


def fingerprint(steps: Sequence[Step]) -> str:
    """sha256 over what the steps say (not over how far they are): approvals are bound to it."""
    said = [[*(getattr(s, name) for name in DRAFT_FIELDS), s.check_command, s.guidance] for s in steps]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _insert(
    change: Change, rollout: Rollout, revision: int, steps: Sequence[Step], origin: PlanOrigin, summary: str
) -> Plan:
    plan = Plan.objects.create(
        rollout=rollout, revision=revision, origin=origin, summary=summary[:4000], sha256=fingerprint(steps)
    )
    for step in steps:
        step.plan, step.rollout = plan, rollout
    Step.objects.bulk_create(steps)
    change.note("plan.recorded", str(plan), data={"revision": revision, "steps": len(steps)}, reason=summary[:500])
    return plan


def _step_of(draft: StepDraft, **more: Any) -> Step:
    values = {name: getattr(draft, name) for name in DRAFT_FIELDS}
    return Step(**values, check_command=draft.check, **more)


def _copy(step: Step, *, keep: bool, **changed: Any) -> Step:
    values = {name: getattr(step, name) for name in DRAFT_FIELDS}
    values |= {"check_command": step.check_command, "guidance": step.guidance, "carried_from": step}
    if keep:
        values |= {name: getattr(step, name) for name in ("status", "commit", "summary", "ended_at")}
    return Step(**(values | changed))


def _revised(step: Step, action: flow.Revise) -> Step:
    if step.index not in action.steps:
        return _copy(step, keep=step.status in FINISHED_STEP)
    return _copy(step, keep=False, guidance=action.guidance or step.guidance)


def _question(index: int, guidance: str) -> Step:
    return Step(
        index=index,
        description=f"Find out, without changing any file, what the review needs to know:\n{guidance[:7000]}",
        expected_outcome="The findings, in the summary.",
        priority=10,
        status=StepStatus.PENDING,
    )

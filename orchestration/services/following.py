"""follow up: a child goal that starts from an ended goal's result, and whose agents are told how that came to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from ..errors import IllegalMove
from ..handover import markdown, packet
from ..models import Check, Goal, Rollout
from ..states import FINISHED_STEP, CheckOrigin, CheckPhase
from ..story import handed_over
from ..transitions import locked, repeatable
from .admission import line_up
from .advancing import advance
from .cleaning import clean_text
from .submitting import WISHES, add_budget, add_rollouts, limits_of, limits_within

LONGEST_PACKET = 20_000


@repeatable
def follow_up(
    goal_id: Any, text: str, *, by: Any = None, name: str = "shell", limits: Mapping[str, Any] | None = None
) -> Goal:
    """A goal that begins where this one ended. From its result branch as that is when the work begins, so what a person has pushed
    there comes along; without a branch from its commit.

    Raises IllegalMove for a goal that is not over or left no result, BadInput for a text that cannot be used.
    """
    text, old = clean_text(text), Goal.objects.get(pk=goal_id)
    source = _result_of(old)
    with transaction.atomic():
        goal = Goal.objects.create(
            **{name: getattr(old, name) for name in WISHES},
            text=text,
            context={**old.context, "earlier": _told(old)},
            base_ref=source.branch,
            follow_up_of=old,
            submitted_by=by,
            origin="follow-up",
        )
        add_budget(goal, limits_within(limits) if limits else limits_of(old))
        with locked(goal.pk, by=by.get_username() if by is not None else name) as change:
            change.note("goal.submitted", str(goal), new=goal.status, reason=f"a follow-up of goal {old.short_id}")
            add_rollouts(change.goal)
            if not source.branch:
                start_from(change.goal, old, source)
            line_up(change, old.team)
            advance(change)
            return change.goal


def _result_of(old: Goal) -> Rollout:
    """The selected rollout, else the one that finished the most."""
    if not old.is_terminal or old.only:
        raise IllegalMove(
            f"goal {old.short_id} is {old.status}; only an ended goal is followed up (message a running one)"
        )
    with_work = [r for r in old.rollouts.order_by("number") if r.head and r.head != old.base_sha]
    if not with_work:
        raise IllegalMove(f"goal {old.short_id} is {old.status} and left no commit to go on from: retry it instead")
    chosen = [r for r in with_work if r.pk == old.selected_id]
    return (chosen or sorted(with_work, key=lambda r: -r.steps.filter(status__in=FINISHED_STEP).count()))[0]


def _told(old: Goal) -> dict[str, str]:
    """What was wanted, and the handover packet; hidden checks stay hidden."""
    told = handed_over(old)
    told["proof"] = [line for line in told["proof"] if line["origin"] != CheckOrigin.HIDDEN]
    return {"goal": old.text[:LONGEST_PACKET], "handover": markdown(packet(told))[:LONGEST_PACKET]}


def start_from(goal: Goal, old: Goal, source: Rollout) -> None:
    """No branch holds the result: the same base, and the work begins at the commit on top of it."""
    goal.base_sha, goal.base_bundle, goal.model = old.base_sha, old.base_bundle, old.model
    goal.save(update_fields=["base_sha", "base_bundle", "model"])
    for check in Check.objects.filter(goal=old, phase=CheckPhase.BASE):
        check.pk, check.goal, check.run = None, goal, None
        check.save(force_insert=True)
    goal.rollouts.update(head=source.head, head_bundle=source.head_bundle)

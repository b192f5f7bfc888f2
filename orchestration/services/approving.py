"""A plan that a person must look at: asked for after it is recorded, approved, rejected or edited, and what happens when nobody does.

No worker is held meanwhile: the rollout is `awaiting_approval`, and `flow` goes on with the decision that is recorded here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import F, Q
from django.utils import timezone
from pydantic import ValidationError

from agents.contracts import PlanDraft

from ..errors import BadInput, IllegalMove, NotFound, StaleApproval
from ..models import Approval, Goal, Plan, Rollout, Step
from ..policies import ApprovalPolicy, Scope, StepAsks, policy_of, reasons_to_ask, scope_from, scope_of
from ..selectors.forecasts import most_usd
from ..states import FINISHED_STEP, ApprovalStatus, GoalStatus, RolloutStatus
from ..transitions import Change, locked, repeatable
from .admission import line_up
from .advancing import advance
from .cleaning import clean_line
from .controlling import pause_goal
from .eyes import refuse_two_eyes, requester
from .planning import edited

SHORTEST_HASH = 8
# What a goal will cost at most in USD; None: nobody knows.
forecast: Callable[[Goal, Plan], Decimal | None] = most_usd


@dataclass(frozen=True, slots=True)
class Decision:
    """`first` False: it had been decided already, and that stands."""

    approval: Approval
    first: bool

    @property
    def said(self) -> str:
        """What came of it, in a sentence."""
        approval, plan = self.approval, f"plan {self.approval.plan_sha256[:8]}"
        who = approval.by or "nobody"
        if self.first:
            return f"{plan} is {approval.status}"
        when = f" at {approval.ended_at:%Y-%m-%d %H:%M} UTC" if approval.ended_at else ""
        return f"{plan} was {approval.status} by {who}{when} already, and that stands"


# ---- asking


def ask_about(change: Change, plan: Plan) -> Approval | None:
    """Let the rollout of a plan that was just recorded wait for a person, if the goal's policy wants it."""
    goal = change.goal
    policy = policy_of(goal.approval)
    if not (policy.asks or goal.plan_only):
        return None
    approved = _approved(plan)
    scope = _scope(goal, plan)
    asks = reasons_to_ask(policy, scope, approved[-1] if approved else None) if policy.asks else []
    if not asks and (not goal.plan_only or approved):
        return None
    approval = _ask(change, plan, policy, asks, scope, [requester(goal)])
    change.move(Rollout.objects.get(pk=plan.rollout_id), RolloutStatus.AWAITING_APPROVAL)
    return approval


def _ask(
    change: Change, plan: Plan, policy: ApprovalPolicy, asks: list[str], scope: Scope, requesters: list[str]
) -> Approval:
    goal = change.goal
    approval = Approval.objects.create(
        goal=goal,
        rollout=plan.rollout,
        plan=plan,
        plan_sha256=plan.sha256,
        asks=asks,
        scope=scope.stored(),
        run_only=not asks,
        four_eyes=bool(asks) and (policy.four_eyes or goal.team.four_eyes),
        requesters=requesters,
        on_expiry=policy.on_expiry,
        expires_at=decided_by(goal) if asks else None,
    )
    data = {"approval": str(approval.pk), "sha256": plan.sha256, "revision": plan.revision}
    change.note("approval.asked", f"plan r{plan.revision} ({plan.sha256[:8]})", reason="; ".join(asks), data=data)
    return approval


def decided_by(goal: Goal) -> datetime:
    """By when a person ought to have decided about what the goal asks now."""
    return timezone.now() + timedelta(hours=policy_of(goal.approval).hours)


def _scope(goal: Goal, plan: Plan) -> Scope:
    steps = Step.objects.filter(plan=plan).exclude(status__in=FINISHED_STEP)
    asked = [StepAsks(tuple(s.writes), tuple(s.tools_hint), s.check_command) for s in steps]
    return scope_of(asked, forecast(goal, plan))


def _approved(plan: Plan) -> list[Scope]:
    """What people have said yes to in this rollout, or in the goal that this one retries; all of it together as the last one."""
    mine = Q(rollout=plan.rollout_id) | Q(goal__retries=plan.rollout.goal_id)
    scopes = [
        scope_from(stored)
        for stored in Approval.objects.filter(mine, status=ApprovalStatus.APPROVED)
        .order_by("created_at")
        .values_list("scope", flat=True)
    ]
    if not scopes:
        return []
    amounts = [scope.usd for scope in scopes if scope.usd is not None]
    whole = Scope(
        frozenset().union(*(scope.paths for scope in scopes)),
        any(scope.network for scope in scopes),
        frozenset().union(*(scope.commands for scope in scopes)),
        max(amounts, default=None),
    )
    return [*scopes, whole]


# ---- deciding


def approve_plan(approval_id: Any, sha256: str, *, by: str, reason: str = "") -> Decision:
    """The plan with this hash is worked on. Who comes second gets what the first one decided.

    Raises StaleApproval when the plan is another one by now, NotAllowed where four eyes are wanted and these are the requester's,
    BadInput for a missing reason.
    """
    return _decide(approval_id, sha256, ApprovalStatus.APPROVED, by, reason)


def reject_plan(approval_id: Any, sha256: str, *, by: str, reason: str) -> Decision:
    """The planner makes another plan, and is told the reason. Raises as `approve_plan`."""
    return _decide(approval_id, sha256, ApprovalStatus.REJECTED, by, reason)


@repeatable
def _decide(approval_id: Any, sha256: str, to: ApprovalStatus, by: str, reason: str) -> Decision:
    reason = clean_line(reason, "the reason", 500)
    with locked(_goal_of(approval_id), by=by) as change:
        approval = Approval.objects.select_related("plan").get(pk=approval_id)
        _refuse_another_plan(approval, sha256)
        if approval.status in (ApprovalStatus.APPROVED, ApprovalStatus.REJECTED, ApprovalStatus.EXPIRED):
            return Decision(approval, first=False)
        _refuse_late(change.goal, approval)
        if to == ApprovalStatus.APPROVED and approval.four_eyes:
            refuse_two_eyes(by, approval.requesters, reason, what="plan", verb="approve")
        if to == ApprovalStatus.REJECTED and not reason:
            raise BadInput("say in a few words why it is rejected: the planner is told")
        change.move(approval, to, by=by, reason=reason, data={"sha256": approval.plan_sha256})
        _give_time_back(change.goal, approval)
        if change.goal.status == GoalStatus.AWAITING_APPROVAL:  # it took no room meanwhile
            line_up(change, change.goal.team)
        advance(change)
        return Decision(approval, first=True)


def _goal_of(approval_id: Any) -> Any:
    goal_id = Approval.objects.filter(pk=approval_id).values_list("goal_id", flat=True).first()
    if goal_id is None:
        raise NotFound("there is no such approval")
    return goal_id


def _refuse_another_plan(approval: Approval, sha256: str) -> None:
    wanted = sha256.strip().lower()
    if len(wanted) < SHORTEST_HASH or not approval.plan_sha256.startswith(wanted):
        raise StaleApproval(
            f"the plan that waits is {approval.plan_sha256[:12]}, and the decision is about {wanted[:12] or 'none'}: "
            "look at the plan again, then decide"
        )
    if approval.status == ApprovalStatus.REPLACED:
        raise StaleApproval(
            f"plan {approval.plan_sha256[:12]} was edited by {approval.by} meanwhile: look at the new one"
        )


def _refuse_late(goal: Goal, approval: Approval) -> None:
    if approval.status != ApprovalStatus.WAITING or goal.is_terminal or goal.cancelled_at is not None:
        raise IllegalMove(f"goal {goal.short_id} is {goal.status}; nothing is left to decide about its plan")


def _give_time_back(goal: Goal, approval: Approval) -> None:
    if goal.status == GoalStatus.AWAITING_APPROVAL:
        give_time_back(goal, approval.created_at)


def give_time_back(goal: Goal, since: datetime) -> None:
    """The goal's hours are for work: what it waited for a person does not count."""
    if goal.deadline_at is not None:
        waited = timezone.now() - since
        Goal.objects.filter(pk=goal.pk).update(deadline_at=F("deadline_at") + waited)
        goal.deadline_at += waited


# ---- editing


@repeatable
def edit_plan(approval_id: Any, sha256: str, draft: Mapping[str, Any], *, by: str, reason: str = "") -> Approval:
    """A new revision in place of the plan that waits, checked by the planner's own contract; it waits for approval in turn.

    Raises BadInput with what is wrong in the draft, StaleApproval as `approve_plan`.
    """
    reason = clean_line(reason, "the reason", 500)
    wanted = _checked(draft)
    with locked(_goal_of(approval_id), by=by) as change:
        approval = Approval.objects.select_related("plan__rollout").get(pk=approval_id)
        _refuse_another_plan(approval, sha256)
        _refuse_late(change.goal, approval)
        change.move(approval, ApprovalStatus.REPLACED, by=by, reason=reason)
        plan = edited(change, approval.plan, wanted)
        change.note("plan.edited", str(plan), reason=reason, data={"revision": plan.revision})
        policy, scope = policy_of(change.goal.approval), _scope(change.goal, plan)
        before = _approved(plan)
        asks = [] if approval.run_only else reasons_to_ask(policy, scope, before[-1] if before else None)
        asks = asks or ([] if approval.run_only else [f"{by} edited it"])
        requesters = [*approval.requesters, *([] if by in approval.requesters else [by])]
        _give_time_back(change.goal, approval)
        return _ask(change, plan, policy, asks, scope, requesters)


def _checked(draft: Mapping[str, Any]) -> PlanDraft:
    try:
        return PlanDraft.model_validate(dict(draft))
    except ValidationError as error:
        said = [
            f"{'.'.join(map(str, e['loc'])) or 'the plan'}: {e['msg']}" for e in error.errors(include_url=False)[:5]
        ]
        raise BadInput(f"the plan cannot be used: {'; '.join(said)}"[:1500]) from error


# ---- what the shell means


def approval_of(goal: Goal, sha256: str = "", *, run_only: bool = False) -> Approval:
    """The goal's approval of the plan with this hash, one that waits before one that is decided. Raises StaleApproval, IllegalMove."""
    rows = Approval.objects.filter(goal=goal, **({"run_only": True} if run_only else {})).order_by("-created_at")
    if not rows:
        raise IllegalMove(f"goal {goal.short_id} is {goal.status}, and nobody was asked about its plan")
    waiting = [row for row in rows if row.status == ApprovalStatus.WAITING]
    named = [row for row in [*waiting, *rows] if sha256 and row.plan_sha256.startswith(sha256.lower())]
    if sha256 and not named:
        known = ", ".join(row.plan_sha256[:12] for row in waiting) or "none"
        raise StaleApproval(f"no plan of goal {goal.short_id} is {sha256[:12]}; what waits now: {known}")
    return [*named, *waiting, *rows][0]


def run_plan(goal_id: Any, *, by: str) -> Decision:
    """Go on with a goal that was to stop after its plan: no second planning call. Raises IllegalMove where there is no such plan."""
    goal = Goal.objects.get(pk=goal_id)
    approval = Approval.objects.filter(goal=goal).order_by("-created_at").first()
    if approval is None or not goal.plan_only:
        raise IllegalMove(f"goal {goal.short_id} is {goal.status}; only a plan-only goal that has its plan can be run")
    if not approval.run_only:
        raise IllegalMove(f"the plan of goal {goal.short_id} needs an approval: {'; '.join(approval.asks)}")
    return approve_plan(approval.pk, approval.plan_sha256, by=by)


# ---- nobody decides


def expire_approval(approval_id: Any) -> bool:
    """Nobody decided in time: the goal ends, or pauses and asks on. By the sweep; two at once are harmless."""
    found = Approval.objects.get(pk=approval_id)
    if found.on_expiry == "pause":
        pause_goal(found.goal_id, by="housekeeper", reason="nobody decided about its plan in time")
        return _wait_on(approval_id)
    return _reject_expired(approval_id)


@repeatable
def _wait_on(approval_id: Any) -> bool:
    with locked(_goal_of(approval_id), by="housekeeper") as change:
        later = decided_by(change.goal)
        late = Approval.objects.filter(pk=approval_id, status=ApprovalStatus.WAITING, expires_at__lt=timezone.now())
        return bool(late.update(expires_at=later))


@repeatable
def _reject_expired(approval_id: Any) -> bool:
    with locked(_goal_of(approval_id), by="housekeeper") as change:
        late = Approval.objects.filter(pk=approval_id, status=ApprovalStatus.WAITING, expires_at__lt=timezone.now())
        approval = late.first()
        if approval is None:
            return False
        when = f"{approval.expires_at:%Y-%m-%d %H:%M} UTC"
        change.move(approval, ApprovalStatus.EXPIRED, by="housekeeper", reason=f"the time was over at {when}")
        advance(change)
        return True

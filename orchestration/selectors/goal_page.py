"""What the goal page shows: its head for every tab, and what the plan's tab adds. No blobs; as many queries for 2 steps as for 50."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db.models import Count, Q, Sum
from django.db.models.functions import Left, Right
from django.http import Http404
from django.shortcuts import get_object_or_404
from django.utils import timezone

from ..cancelling import Confirmation, may_force, unconfirmed
from ..models import Approval, Artifact, Budget, Call, Check, Event, Goal, Plan, Review, Rollout, Run, Step
from ..proof import Proof
from ..rendering.graph import Graph, Vertex, draw
from ..roles import Action, may
from ..states import (
    OPEN_ROLLOUT,
    ApprovalStatus,
    CallKind,
    CheckPhase,
    GoalStatus,
    RolloutStatus,
    RunStatus,
    StepStatus,
)
from ..telling import QUIET
from ..why import why
from .access import goals_for, with_role
from .cancelling import cancel_proof
from .goal_facts import facts_of
from .limits import said as near_limits
from .models_used import ModelUse, models_used
from .overlaps import Overlap, overlaps_of
from .proofs import proofs
from .replans import replan_of

T = TypeVar("T")
MOST_RUNS = 1000
PROOF_TAIL = 2000
LATEST_EVENTS = 10
NOW_COMMANDS = 3


@dataclass(frozen=True)
class StepLine:
    """A step with its newest run; `shown` is its status, or that of its live run."""

    step: Step
    run: Run | None
    shown: str
    attempts: int

    @property
    def seconds(self) -> float | None:
        if self.run is None or self.run.started_at is None:
            return None
        return ((self.run.ended_at or timezone.now()) - self.run.started_at).total_seconds()


@dataclass(frozen=True)
class GoalHead:
    """What each tab of a goal shows above its content. `seq`: the newest event that it can show."""

    goal: Goal
    budget: Budget
    rollouts: Sequence[Rollout]
    rollout: Rollout | None
    plans: Sequence[Plan]
    plan: Plan | None
    lines: Sequence[StepLine]
    runs: Sequence[Run]
    proofs: Sequence[Proof]
    why: str
    counts: dict[str, int]
    cancel: Sequence[Confirmation]
    role: str | None = None
    waits_for_approval: Any = None  # the id of the oldest one

    @property
    def seq(self) -> int:
        return self.goal.event_seq

    @property
    def live(self) -> list[Run]:
        return [run for run in self.runs if run.status == RunStatus.RUNNING]

    @property
    def steps_done(self) -> int:
        return sum(line.step.status in {StepStatus.SUCCEEDED, StepStatus.SKIPPED} for line in self.lines)

    @property
    def seconds(self) -> float | None:
        begun = self.goal.started_at
        return ((self.goal.ended_at or timezone.now()) - begun).total_seconds() if begun else None

    @property
    def unconfirmed(self) -> int:
        """Of a cancelled goal: how many things nobody has confirmed to be over."""
        return unconfirmed(self.cancel)

    @property
    def overlaps(self) -> list[Overlap]:
        return overlaps_of(self.goal)

    @property
    def near_limits(self) -> list[str]:
        return near_limits(self.budget)

    @property
    def _result(self) -> list[Rollout]:
        return [r for r in self.rollouts if r.head and r.head != self.goal.base_sha]

    @property
    def can(self) -> dict[str, bool]:
        """Which acts this person may try now; the services have the last word."""
        over, status = self.goal.is_terminal, self.goal.status
        cancel = may(self.role, Action.CANCEL)
        pauses = not self.goal.is_gated or (status == GoalStatus.PAUSED and self.goal.finishes_running)
        return {
            "cancel": cancel and not over and self.goal.cancelled_at is None,
            "force": cancel and status == GoalStatus.CANCELLING and may_force(self.goal.cancelled_at, timezone.now()),
            "pause": may(self.role, Action.PAUSE) and pauses,
            "resume": may(self.role, Action.RESUME) and status == GoalStatus.PAUSED,
            "retry": may(self.role, Action.RETRY) and over,
            "pick": may(self.role, Action.PICK) and bool(self.pickable),
            "message": may(self.role, Action.MESSAGE) and not over and self.goal.cancelled_at is None,
            "priority": may(self.role, Action.PRIORITIZE) and not over and self.goal.cancelled_at is None,
            "override": may(self.role, Action.OVERRIDE) and not over and bool(self.lines),
            "follow_up": may(self.role, Action.SUBMIT) and over and bool(self._result),
            "approve": may(self.role, Action.APPROVE),
        }

    @property
    def pickable(self) -> list[Rollout]:
        """The other results that a person may take."""
        if self.goal.status != GoalStatus.SUCCEEDED:
            return []
        return [r for r in self.rollouts if r.status == RolloutStatus.SUCCEEDED and r.pk != self.goal.selected_id]


def goal_head(user: Any, goal_id: Any, *, rollout: int | None = None, revision: int | None = None) -> GoalHead:
    """Raises Http404 for a goal that this user may not see, and for a rollout or revision that there is not."""
    mine = goals_for(user).select_related("repository", "submitted_by", "budget", "retry_of", "follow_up_of", "team")
    goals = with_role(mine, user)
    goal = get_object_or_404(goals, pk=goal_id)
    rollouts = list(Rollout.objects.filter(goal=goal).order_by("number"))
    shown = _shown_rollout(goal, rollouts, rollout)
    plans = list(Plan.objects.filter(rollout=shown).order_by("revision"))
    plan = found(plans, lambda p: p.revision == revision) if revision else (plans[-1] if plans else None)
    runs = _runs(goal)
    steps = list(Step.objects.filter(plan=plan).select_related("carried_from").order_by("index"))
    proofs, cancel = _proofs(goal, shown), cancel_proof(goal)
    return GoalHead(
        goal=goal,
        budget=goal.budget,
        rollouts=rollouts,
        rollout=shown,
        plans=plans,
        plan=plan,
        lines=[_line(step, runs) for step in steps],
        runs=runs,
        proofs=proofs,
        why=why(facts_of(goal, shown, runs, [(proof.before, proof.after) for proof in proofs], unconfirmed(cancel))),
        counts=_counts(goal),
        cancel=cancel,
        role=goal.role,
        waits_for_approval=_waiting_approval(goal),
    )


def _waiting_approval(goal: Goal) -> Any:
    """Asked for only where there can be one: most goals have no policy."""
    if goal.is_terminal or not (goal.approval or goal.plan_only):
        return None
    waiting = Approval.objects.filter(goal=goal, status=ApprovalStatus.WAITING).order_by("created_at")
    return waiting.values_list("pk", flat=True).first()


def why_of(goal: Goal) -> str:
    """The sentence of a goal's page, for programs and terminals."""
    rollouts = list(Rollout.objects.filter(goal=goal).order_by("number"))
    shown = _shown_rollout(goal, rollouts, None)
    proofs = [(proof.before, proof.after) for proof in _proofs(goal, shown)]
    return why(facts_of(goal, shown, _runs(goal), proofs))


def _shown_rollout(goal: Goal, rollouts: Sequence[Rollout], number: int | None) -> Rollout | None:
    if number is not None:
        return found(rollouts, lambda r: r.number == number)
    selected = [r for r in rollouts if r.pk == goal.selected_id]
    at_work = [r for r in rollouts if r.status in OPEN_ROLLOUT]
    return next(iter([*selected, *at_work, *rollouts]), None)


def found(rows: Sequence[T], fits: Callable[[T], bool]) -> T:
    for row in rows:
        if fits(row):
            return row
    raise Http404


def _runs(goal: Goal) -> Sequence[Run]:
    """The newest runs, oldest first; of a long error only what a list shows."""
    runs = Run.objects.filter(goal=goal).defer("brief", "outcome", "error", "lost_workers")
    newest = (
        runs.annotate(said=Left("error", 1000))
        .select_related("step__plan", "rollout")
        .order_by("-queued_at", "-attempt")
    )
    return list(newest[:MOST_RUNS])[::-1]


def _line(step: Step, runs: Sequence[Run]) -> StepLine:
    mine = [run for run in runs if run.step_id == step.pk]
    newest = mine[-1] if mine else None
    shown = "running" if newest is not None and newest.status == RunStatus.RUNNING else str(step.status)
    return StepLine(step, newest, shown, sum(run.status != RunStatus.CANCELLED for run in mine))


def _counts(goal: Goal) -> dict[str, int]:
    calls = Call.objects.filter(run__goal=goal).aggregate(
        commands=Count("pk", filter=Q(kind=CallKind.COMMAND)), asked=Count("pk", filter=Q(kind=CallKind.LLM))
    )
    artifacts = Artifact.objects.filter(goal=goal).exclude(kind="checkpoint").count()
    return {**calls, "artifacts": artifacts, "reviews": Review.objects.filter(rollout__goal=goal).count()}


# ---- the proof


def _proofs(goal: Goal, rollout: Rollout | None) -> list[Proof]:
    """Each given or discovered check, with its result on the base and its newest on the result; a given one also before it ran."""
    rows = Check.objects.filter(Q(rollout=rollout) | Q(rollout=None), goal=goal)
    rows = rows.exclude(phase=CheckPhase.STEP).defer("output").annotate(tail=Right("output", PROOF_TAIL))
    return proofs(goal, rows.order_by("pk"))


# ---- the plan's tab


@dataclass(frozen=True)
class PlanTab:
    graph: Graph
    now: Sequence[Call]
    review: Review | None
    events: Sequence[Event]
    spent: Sequence[Any]
    models: Sequence[ModelUse]
    replan: str  # what this revision made of the one before


def plan_tab(head: GoalHead, href: Callable[[Step], str]) -> PlanTab:
    """`href(step)`: the address of a step's page."""
    vertices = [
        Vertex(s.index, s.description, line.shown, below(line), href(s), tuple(s.dependencies))
        for line in head.lines
        for s in (line.step,)
    ]
    commands = Call.objects.filter(run__in=[run.pk for run in head.live], kind=CallKind.COMMAND)
    sums = {name: Sum(f"{name}_tokens") for name in ("prompt", "cached", "completion")}
    calls = Call.objects.filter(run__goal=head.goal, kind=CallKind.LLM)
    return PlanTab(
        graph=draw(vertices),
        now=list(commands.select_related("run__step").order_by("-pk")[:NOW_COMMANDS])[::-1],
        review=Review.objects.filter(rollout=head.rollout).order_by("created_at").last(),
        events=list(Event.objects.filter(goal=head.goal).exclude(kind__in=QUIET).order_by("-seq")[:LATEST_EVENTS]),
        replan=replan_of(head.plan),
        models=models_used(head.goal),
        spent=list(calls.values("run__kind").annotate(calls=Count("pk"), **sums).order_by("run__kind")),
    )


def below(line: StepLine) -> str:
    """The second line of a step: how it stands, in a few words."""
    step, run = line.step, line.run
    if line.shown == "running" and run is not None:
        return f"Runs, attempt {run.attempt}" if run.attempt > 1 else "Runs"
    if step.status == StepStatus.QUEUED and run is not None:
        return f"Queued, attempt {run.attempt}" if run.attempt > 1 else "Queued"
    if step.status == StepStatus.PENDING and step.dependencies:
        return f"After {', '.join(map(str, step.dependencies))}"
    if step.carried_from_id and step.status == StepStatus.SUCCEEDED and run is None:
        return "Carried over"
    if step.status == StepStatus.FAILED and line.attempts > 1:
        return f"Failed {line.attempts} times"
    return str(step.get_status_display()).capitalize()

"""Reads for the engine: the rows that `flow` decides on, in three queries, no long text and no blob in them, and its views of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Now

from .. import flow
from ..cancelling import holds
from ..judging import same_again
from ..models import Approval, Call, Check, Goal, Plan, Review, Rollout, Run, Step
from ..prepared import Prepared
from ..states import (
    OPEN_ROLLOUT,
    TERMINAL_ROLLOUT,
    CallStatus,
    GoalStatus,
    ReviewWhen,
    RolloutStatus,
    RunKind,
    RunStatus,
)
from .cancelling import cancel_proof
from .candidates import compares, judges_of, overdraft, standing


def gate(goal: Goal) -> flow.Gate:
    """May new work start? A goal that is over or being cancelled starts nothing more."""
    if goal.cancelled_at is not None or goal.is_terminal:
        return "cancelling"
    if goal.status == GoalStatus.PAUSED:
        return "paused"
    return "open" if goal.in_line_since is None else "waiting"


CLOSED = (GoalStatus.PAUSED, GoalStatus.CANCELLING, GoalStatus.AWAITING_APPROVAL)
PATIENCE = timedelta(seconds=1)  # a run that waited longer is served before another goal has a second turn


@dataclass
class Picture:
    """A goal's rows as decisions see them, read under its lock: all rollouts, and the newest revision of the open ones.

    They are the rows that moves are made on, so that the picture stays true. `abandoned`: there are calls that nobody will answer;
    `unanswered`: the run that was asked for has a call in flight.

    It may be kept in hand after the commit (`keep`). As long as the goal has the same `version`, nothing in it has changed: statuses,
    fences, plans, reviews, heads are only written by transactions that hold the goal, and those raise it. `abandoned` cannot become
    true unnoticed either: a call in flight is one of a running run's, with its fence (`hotpath` begins no other), and what ends or
    fences such a run raises the version too. Only its own run's record does that in the owner's hands: so a picture is not kept, and
    not used, if that run has a call in flight.
    """

    goal: Goal
    rollouts: list[Rollout]
    steps: dict[Any, list[Step]] = field(default_factory=dict)
    runs: dict[Any, list[Run]] = field(default_factory=dict)
    abandoned: bool = False
    unanswered: bool = False
    closed: Any = None  # the run by whose record it was kept

    @property
    def rows(self) -> list[Rollout | Step | Run]:
        steps = [step for steps in self.steps.values() for step in steps]
        return [*self.rollouts, *steps, *(run for runs in self.runs.values() for run in runs)]

    def rollout(self, pk: Any) -> Rollout:
        return next(rollout for rollout in self.rollouts if rollout.pk == pk)

    def step(self, rollout: Rollout, pk: Any) -> Step:
        return next(step for step in self.steps[rollout.pk] if step.pk == pk)


STEP_COLUMNS = ("id", "plan_id", "rollout_id", "index", "status", "dependencies", "can_parallelize", "priority")
RUN_COLUMNS = (
    *("id", "goal_id", "rollout_id", "plan_id", "step_id", "kind", "queue", "status", "revision", "attempt"),
    *("losses", "fence", "priority", "error_kind", "error", "outcome", "started_at"),
)


def picture(goal: Goal, run: Any = None) -> Picture:
    """One query for the rollouts, two for each open one. The caller holds the goal's lock. `run`: the id of the one it is about."""
    seen = Picture(goal, _rollouts_of(goal.pk, run or goal.pk))
    for rollout in seen.rollouts:
        rollout.goal = goal
        if rollout.status not in TERMINAL_ROLLOUT:
            seen.steps[rollout.pk], seen.runs[rollout.pk] = _steps(rollout), _runs(rollout)
    seen.abandoned = any(rollout.abandoned for rollout in seen.rollouts)  # type: ignore[attr-defined]
    seen.unanswered = any(rollout.unanswered for rollout in seen.rollouts)  # type: ignore[attr-defined]
    return seen


def keep(seen: Picture, run: Run, closed: Run) -> None:
    """Whoever works on `run` has this picture of its goal in hand: what is committed now."""
    seen.closed = closed.pk
    run.__dict__["picture"] = seen


def in_hand(run: Run) -> Picture | None:
    """The picture that was kept with the run, taken out: whoever fails with it must read again."""
    seen: Picture | None = run.__dict__.pop("picture", None)
    return seen


def fill_in(seen: Picture, rollout_id: Any) -> None:
    """The long texts of the newest plan's steps, which pictures leave out: they never change, so once is enough."""
    steps = [step for step in seen.steps[rollout_id] if "description" not in step.__dict__]
    if not steps:
        return
    texts = {step.pk: step.__dict__ for step in _texts_of(steps[0].plan_id)}
    for step in steps:
        step.__dict__.update({name: text for name, text in texts[step.pk].items() if name not in step.__dict__})


def look_again(seen: Picture, rollout: Any) -> None:
    """There are new rows below this rollout, or its steps have changed."""
    now = _rollouts().get(pk=rollout.pk)
    rollout.newest_plan, rollout.revision, rollout.unheard = now.newest_plan, now.revision, now.unheard
    seen.steps[rollout.pk], seen.runs[rollout.pk] = _steps(rollout), _runs(rollout)


def _rollouts() -> Any:
    newest = Plan.objects.filter(rollout=OuterRef("pk")).order_by("-revision")
    in_flight = Call.objects.filter(run__rollout=OuterRef("pk"), status=CallStatus.INTENT)
    return Rollout.objects.annotate(
        newest_plan=Subquery(newest.values("pk")[:1]),
        revision=Subquery(newest.values("revision")[:1]),
        unheard=Exists(Review.objects.filter(rollout=OuterRef("pk"), acted=False)),
        abandoned=Exists(in_flight.exclude(run__status=RunStatus.RUNNING, fence=F("run__fence"))),
    )


def _steps(rollout: Any) -> list[Step]:
    if rollout.newest_plan is None:
        return []
    return _steps_of(rollout.newest_plan)


def _runs(rollout: Any) -> list[Run]:
    """Step and review runs of the newest revision, plan runs of the next one; oldest first."""
    newest = rollout.revision or 0
    found = _runs_of(rollout.pk, newest, newest + 1)
    runs = [run for run in found if run.revision == (newest + 1 if run.kind == RunKind.PLAN else newest)]
    for run in runs:
        run.rollout = rollout
    return runs


_rollouts_of = Prepared(
    lambda goal, run: (
        _rollouts()
        .filter(goal_id=goal)
        .order_by("number")
        .annotate(unanswered=Exists(Call.objects.filter(run_id=run, status=CallStatus.INTENT)))
    ),
    *(UUID, UUID),
)
_texts_of = Prepared(lambda plan: Step.objects.filter(plan_id=plan).order_by(), UUID)
_steps_of = Prepared(lambda plan: Step.objects.filter(plan_id=plan).order_by("index").only(*STEP_COLUMNS), UUID)
_runs_of = Prepared(
    lambda rollout, *revisions: (
        Run.objects.filter(rollout_id=rollout, revision__in=revisions)
        .order_by("queued_at", "attempt")
        .only(*RUN_COLUMNS)
    ),
    UUID,
    int,
    int,
)


def due(queues: Sequence[str]) -> QuerySet[Run]:
    """Queued runs that may be begun now."""
    runs = Run.objects.filter(status=RunStatus.QUEUED, queue__in=queues, not_before__lte=Now())
    runs = runs.exclude(goal__status__in=CLOSED)
    return runs.filter(goal__cancelled_at__isnull=True, goal__in_line_since__isnull=True)


def waiting_goals(queues: Sequence[str]) -> set[Any]:
    """Two (if there are) of the goals whose runs have waited too long on these queues."""
    late = due(queues).filter(queued_at__lt=Now() - PATIENCE)
    return set(late.order_by().values_list("goal_id", flat=True).distinct()[:2])


def pending_verdict(rollout: Rollout, revision: int) -> Review | None:
    """The review of this revision that nobody has drawn the consequence of."""
    of_it = Q(run__revision=revision) | Q(run=None, plan__revision=revision)  # an agent's, or a person's
    reviews = Review.objects.filter(of_it, rollout=rollout, acted=False)
    return reviews.order_by("-created_at").first()


def rollout_view(seen: Picture, rollout: Any) -> flow.RolloutView:
    """What `flow.next_actions` sees."""
    revision, runs = rollout.revision or 0, seen.runs.get(rollout.pk, [])
    waits, refused = "", ""
    if rollout.number > 1 and rollout.status == RolloutStatus.QUEUED and not (revision or runs):
        waits, refused = standing(seen.goal, seen.rollouts, rollout)
    several = len(seen.rollouts) > 1 and rollout.status in OPEN_ROLLOUT and bool(revision or runs)
    review = pending_verdict(rollout, revision) if rollout.unheard else None
    return flow.RolloutView(
        status=rollout.status,
        gate=gate(seen.goal),
        revision=revision,
        steps=tuple(_step_view(step) for step in seen.steps.get(rollout.pk, [])),
        runs=tuple(_run_view(run) for run in runs),
        verdict=_verdict_view(review, rollout) if review else None,
        approval=_approval_view(rollout) if rollout.status == RolloutStatus.AWAITING_APPROVAL else None,
        planning=any(run.kind == RunKind.PLAN and run.status != RunStatus.CANCELLED for run in runs),
        review_each_step=seen.goal.review_when == ReviewWhen.EACH_STEP,
        only=seen.goal.only,
        waits=waits,
        refused=refused,
        overdrawn=overdraft(seen.goal, seen.rollouts, rollout) if several else "",
        examined=compares(seen.goal),
        replans=rollout.replans,
        review_rounds=rollout.review_rounds,
        caps=flow.Caps(**settings.CAPS),
    )


def _approval_view(rollout: Any) -> flow.ApprovalView | None:
    newest = Approval.objects.filter(plan=rollout.newest_plan).order_by("created_at").last()
    return None if newest is None else flow.ApprovalView(newest.status, newest.reason, newest.by)


def _step_view(step: Step) -> flow.StepView:
    return flow.StepView(
        step.pk, step.index, step.status, tuple(step.dependencies), step.can_parallelize, step.priority
    )


def _run_view(run: Run) -> flow.RunView:
    seen = flow.RunView(
        run.pk, run.kind, run.status, run.step_id, run.error_kind, run.error[:500], run.outcome.get("retry_after")
    )
    if run.kind != RunKind.EXAM:
        return seen
    found = run.outcome if run.status == RunStatus.SUCCEEDED else {}
    said = found.get("said") or run.brief.get("reason", "")
    return replace(seen, passed=found.get("passed", False), proven=found.get("proven", False), said=said)


def _verdict_view(review: Review, rollout: Rollout) -> flow.VerdictView:
    said = (review.action, tuple(review.steps), review.reasoning, review.suggested_changes, review.proven)
    return flow.VerdictView(*said, asks=review.asks, same_again=_same_again(review, rollout))


def _same_again(review: Review, rollout: Rollout) -> str:
    """The check that fails in this review as it did in the one before the last replan, if that was not the first."""
    if review.action != "replan" or rollout.replans < 2 or not settings.NO_PROGRESS_ENDS:
        return ""
    earlier = Review.objects.filter(rollout=rollout, action="replan", acted=True).order_by("-created_at").first()
    ran = [Check.objects.filter(run_id=one.run_id, passed=False) for one in (review, earlier) if one and one.run_id]
    return same_again(*ran) if len(ran) == 2 else ""


def goal_view(goal: Goal, rollouts: list[Rollout]) -> flow.GoalView:
    """What `flow.decide_goal` sees; candidates are numbered in the order in which they ended."""
    ended = sorted(
        (r for r in rollouts if r.status in TERMINAL_ROLLOUT and r.ended_at), key=lambda r: (r.ended_at, r.number)
    )
    order = {rollout.pk: place for place, rollout in enumerate(ended, 1)}
    candidates = tuple(
        flow.Candidate(
            *(r.pk, r.number, r.status, r.verified, r.changed_lines, order.get(r.pk, 0), r.reason),
            score=r.score,
            tokens=r.tokens,
            votes=r.votes,
        )
        for r in rollouts
    )
    judges = tuple(_run_view(run) for run in judges_of(goal, rollouts))
    return flow.GoalView(goal.status, gate(goal), goal.strategy, candidates, holds(cancel_proof(goal)), judges)

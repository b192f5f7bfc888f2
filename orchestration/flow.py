"""PURE: what is next? A view of a rollout goes in, actions come out; a view of a goal goes in, its status comes out.

No ORM, no clock, no Redis, no Celery. `services.advancing` builds the views under the goal's lock and applies the actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from . import retry, scoring
from .states import (
    FINISHED_STEP,
    LIVE_RUN,
    TERMINAL_ROLLOUT,
    ApprovalStatus,
    GoalStatus,
    RolloutStatus,
    RunKind,
    RunStatus,
    StepStatus,
    Strategy,
)

Gate = Literal["open", "paused", "waiting", "cancelling"]
SAYS_NOTHING = frozenset({RunStatus.CANCELLED, RunStatus.ASKED})


# ---- what is seen


@dataclass(frozen=True, slots=True)
class RunView:
    """One run of the current revision (or of the plan that comes next), oldest first."""

    id: Any
    kind: str
    status: str
    step: Any = None
    error_kind: str = ""
    error: str = ""
    retry_after: float | None = None
    passed: bool = False  # of an exam: every check that counts
    proven: bool = False
    said: str = ""  # of an exam: why the result is good, or what failed

    @property
    def is_live(self) -> bool:
        return self.status in LIVE_RUN


@dataclass(frozen=True, slots=True)
class StepView:
    id: Any
    index: int
    status: str
    dependencies: tuple[int, ...] = ()
    can_parallelize: bool = False
    priority: int = 5


@dataclass(frozen=True, slots=True)
class VerdictView:
    """The latest review of the current revision, while nobody has acted on it."""

    action: str
    steps: tuple[int, ...] = ()
    reasoning: str = ""
    suggested_changes: str = ""
    proven: bool = False
    asks: str = ""  # why a person decides first
    same_again: str = ""  # the check that failed just as it did before the last replan, which was not the first


@dataclass(frozen=True, slots=True)
class ApprovalView:
    """The newest one of the current revision, while its rollout waits for a person."""

    status: str
    reason: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Caps:
    """How often something is tried again before it ends with the handover packet; 0: it is not tried again."""

    replans: int = 3
    review_rounds: int = 3
    parallel_steps: int = 8
    attempts: int = retry.FAILED_ATTEMPTS


@dataclass(frozen=True, slots=True)
class RolloutView:
    """`revision` 0: there is no plan yet. `runs`: step and review runs of this revision, plan runs of the next one."""

    status: str
    gate: Gate = "open"
    revision: int = 0
    steps: tuple[StepView, ...] = ()
    runs: tuple[RunView, ...] = ()
    verdict: VerdictView | None = None
    approval: ApprovalView | None = None
    planning: bool = False  # a further plan was asked for (replan) and is not recorded yet
    review_each_step: bool = False
    only: str = ""  # a task called by hand wants one kind of work (a RunKind) and no more
    waits: str = ""  # it has not started, and this is why it does not yet
    refused: str = ""  # it has not started, and this is why it never does
    overdrawn: str = ""  # its share of the goal's limits is used, and this is how
    examined: bool = False  # one of several candidates: a good result has to pass the clean room
    replans: int = 0
    review_rounds: int = 0
    caps: Caps = field(default_factory=Caps)

    def runs_of(self, kind: str, step: Any = None) -> list[RunView]:
        """Runs that say something about the work: cancelled ones do not, nor those that asked a person."""
        return [r for r in self.runs if r.kind == kind and r.step == step and r.status not in SAYS_NOTHING]


# ---- what is to be done


@dataclass(frozen=True, slots=True)
class StartPlan:
    feedback: str = ""
    delay: float = 0.0
    replan: bool = False


@dataclass(frozen=True, slots=True)
class StartStep:
    step: Any
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class FailStep:
    step: Any
    reason: str


@dataclass(frozen=True, slots=True)
class StartReview:
    """`between`: steps are still to come."""

    problem: str = ""
    delay: float = 0.0
    between: bool = False


@dataclass(frozen=True, slots=True)
class StartExam:
    """The checks again, on the patch applied to the base in a fresh sandbox; `reason`: what the review said."""

    reason: str = ""
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Revise:
    """A new revision without asking a planner: the named steps again (with the changes), or a diagnostic step inserted."""

    kind: Literal["retry_same", "retry_with_changes", "gather_info"]
    steps: tuple[int, ...]
    guidance: str


@dataclass(frozen=True, slots=True)
class CancelQueued:
    """End the queued runs: they would start nothing any more."""


@dataclass(frozen=True, slots=True)
class Finish:
    status: str
    reason: str
    verified: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do now; `reason` names what ends the wait."""

    reason: str


Action = StartPlan | StartStep | FailStep | StartReview | StartExam | Revise | CancelQueued | Finish | Wait


# ---- the decision


def next_actions(view: RolloutView) -> tuple[Action, ...]:
    """What is next for this rollout. One that has used its share begins no work more; what is done is still reviewed."""
    actions = _next(view)
    if not view.overdrawn or not any(isinstance(action, StartPlan | StartStep | Revise) for action in actions):
        return actions
    running = sum(run.status == RunStatus.RUNNING for run in view.runs)
    if running:
        return (Wait(f"{view.overdrawn}; {running} run(s) are ending"),)
    return (CancelQueued(), Finish(RolloutStatus.FAILED, view.overdrawn))


def _next(view: RolloutView) -> tuple[Action, ...]:
    """Read it aloud: it should sound like a team lead."""
    if view.status in TERMINAL_ROLLOUT:
        return ()
    if view.gate == "cancelling" or view.status == RolloutStatus.CANCELLING:
        return _stop(view)
    if view.gate == "paused":
        return (Wait("the goal is paused"),)
    if view.gate == "waiting":
        return (Wait("the goal waits in line"),)
    if view.status == RolloutStatus.AWAITING_APPROVAL:
        return _ask(view)
    if view.only and (actions := _alone(view)):
        return actions
    if view.refused:
        return (Finish(RolloutStatus.CANCELLED, view.refused),)
    if view.waits:
        return (Wait(view.waits),)
    if view.verdict is not None:
        return _follow(view, view.verdict)
    if view.examined and (exams := view.runs_of(RunKind.EXAM)):
        return _examined(exams)
    if view.revision == 0 or view.planning:
        return _plan(view)
    return _execute(view)


def _stop(view: RolloutView) -> tuple[Action, ...]:
    running = [run for run in view.runs if run.status == RunStatus.RUNNING]
    queued = (CancelQueued(),) if any(run.status == RunStatus.QUEUED for run in view.runs) else ()
    if running:
        return (*queued, Wait(f"{len(running)} run(s) are stopping"))
    return (*queued, Finish(RolloutStatus.CANCELLED, "cancelled"))


def _ask(view: RolloutView) -> tuple[Action, ...]:
    """A person decides about the plan: nothing is begun before, and a no is planned again with its reason."""
    approval = view.approval
    if approval is None or approval.status == ApprovalStatus.WAITING:
        return (Wait("its plan waits for approval"),)
    if approval.status == ApprovalStatus.APPROVED:
        return _execute(view)
    if approval.status == ApprovalStatus.EXPIRED:
        return (Finish(RolloutStatus.FAILED, f"nobody approved its plan in time: {approval.reason}"),)
    said = f"{approval.by or 'a person'} rejected the plan: {approval.reason}"
    if view.replans >= view.caps.replans:
        return (Finish(RolloutStatus.FAILED, f"{view.replans} replans did not help: {said}"),)
    return (StartPlan(feedback=said, replan=True),)


def _alone(view: RolloutView) -> tuple[Action, ...]:
    """One plan, one step or one review, as a task called by hand asks for it: it ends where that piece ends."""
    if view.only == RunKind.REVIEW:
        return _review(view) if view.verdict is None else (Finish(RolloutStatus.SUCCEEDED, view.verdict.reasoning),)
    if view.only == RunKind.PLAN:
        return (Finish(RolloutStatus.SUCCEEDED, "the plan is made"),) if view.revision else ()
    if all(step.status in FINISHED_STEP for step in view.steps):
        return (Finish(RolloutStatus.SUCCEEDED, "the step is done"),)
    if any(step.status == StepStatus.FAILED for step in view.steps):
        return (Finish(RolloutStatus.FAILED, "the step failed for good"),)
    return ()


def _plan(view: RolloutView) -> tuple[Action, ...]:
    history = view.runs_of(RunKind.PLAN)
    if not history:
        return (StartPlan(),)
    if history[-1].is_live:
        return (Wait("a plan is being made"),)
    again = _again(history)
    if isinstance(again, retry.GiveUp):
        return (Finish(RolloutStatus.FAILED, f"no plan could be made: {again.reason}"),)
    return (StartPlan(delay=again.delay),)


def _execute(view: RolloutView) -> tuple[Action, ...]:
    """Steps first; when they are done, or one has failed for good and the others have ended, a review."""
    failed = [step for step in view.steps if step.status == StepStatus.FAILED]
    begun = [_go_on(view, step, bool(failed)) for step in view.steps if step.status == StepStatus.QUEUED]
    if broken := [action for action in begun if isinstance(action, Finish)]:
        return (CancelQueued(), broken[0])
    if decided := tuple(action for action in begun if action is not None):
        return decided
    live = [run for run in view.runs if run.kind == RunKind.STEP and run.is_live]
    if failed:
        if live:
            return (Wait(f"step {failed[0].index} failed; {len(live)} other run(s) are ending"),)
        return _review(view, problem=f"step {failed[0].index} failed for good")
    if view.review_each_step and _is_unreviewed(view) and any(s.status not in FINISHED_STEP for s in view.steps):
        return _review(view, between=True) if not live else (Wait(f"{len(live)} step(s) are ending before a review"),)
    if startable := _startable(view, live):
        return tuple(StartStep(step.id) for step in startable)
    if live:
        return (Wait(f"{len(live)} step(s) are running"),)
    if all(step.status in FINISHED_STEP for step in view.steps):
        return _review(view)
    if asking := [step.index for step in view.steps if step.status == StepStatus.ASKING]:
        return (Wait(f"steps {asking} wait for a person's answer"),)
    blocked = [step.index for step in view.steps if step.status not in FINISHED_STEP]
    return (Finish(RolloutStatus.FAILED, f"steps {blocked} can never start: what they depend on did not succeed"),)


def _is_unreviewed(view: RolloutView) -> bool:
    """A step of this revision has succeeded after the last review of it."""
    done = [run.kind for run in view.runs if run.status == RunStatus.SUCCEEDED and run.kind != RunKind.PLAN]
    return bool(done) and done[-1] == RunKind.STEP


def _go_on(view: RolloutView, step: StepView, closing: bool) -> Action | None:
    """What is next for a step that was begun and has no live run: again, failed for good, or the end of it all."""
    history = view.runs_of(RunKind.STEP, step.id)
    if history and history[-1].is_live:
        return None
    again = _again(history, view.caps.attempts) if history else retry.Again(0)
    if isinstance(again, retry.Again):
        return None if closing else StartStep(step.id, again.delay)
    if again.honest:
        return FailStep(step.id, again.reason)
    return Finish(RolloutStatus.FAILED, f"step {step.index}: {again.reason}")


def _startable(view: RolloutView, live: Sequence[RunView]) -> list[StepView]:
    """Pending steps whose dependencies are met, higher priority first; one that may not run in parallel runs alone.

    An exclusive step that is due is not overtaken by steps of lower priority, else it might wait for ever.
    """
    by_id = {step.id: step for step in view.steps}
    met = {step.index for step in view.steps if step.status in FINISHED_STEP}
    due = [s for s in view.steps if s.status == StepStatus.PENDING and set(s.dependencies) <= met]
    if any(not by_id[run.step].can_parallelize for run in live if run.step in by_id):
        return []
    room = view.caps.parallel_steps - len(live)
    started: list[StepView] = []
    for step in sorted(due, key=lambda s: (-s.priority, s.index)):
        if not step.can_parallelize:
            return started or ([step] if not live else [])
        if len(started) >= room:
            break
        started.append(step)
    return started


def _review(view: RolloutView, problem: str = "", between: bool = False) -> tuple[Action, ...]:
    history = view.runs_of(RunKind.REVIEW)
    if not history or history[-1].status == RunStatus.SUCCEEDED:
        return (StartReview(problem, between=between),)
    if history[-1].is_live:
        return (Wait("the result is being reviewed"),)
    again = _again(history)
    if isinstance(again, retry.GiveUp):
        return (Finish(RolloutStatus.FAILED, f"the result could not be reviewed: {again.reason}"),)
    return (StartReview(problem, again.delay, between),)


def _examined(history: Sequence[RunView]) -> tuple[Action, ...]:
    """The clean room has the last word: what fails there never wins."""
    last = history[-1]
    if last.is_live:
        return (Wait("the result is examined in a clean room"),)
    if last.status != RunStatus.SUCCEEDED:
        again = _again(history)
        if isinstance(again, retry.GiveUp):
            return (Finish(RolloutStatus.FAILED, f"the result could not be examined in a clean room: {again.reason}"),)
        return (StartExam(last.said, again.delay),)
    if last.passed:
        return (Finish(RolloutStatus.SUCCEEDED, last.said, verified=last.proven),)
    return (Finish(RolloutStatus.FAILED, f"in the clean room: {last.said}"),)


def _follow(view: RolloutView, verdict: VerdictView) -> tuple[Action, ...]:
    """Each of the seven actions does what it says; what would go round for ever ends at a cap."""
    failed = tuple(step.index for step in view.steps if step.status == StepStatus.FAILED)
    action = verdict.action
    if verdict.asks:
        return (Wait(verdict.asks),)
    if action == "continue":
        if any(step.status == StepStatus.PENDING for step in view.steps) and not failed:
            return _execute(view)
        action = "retry_with_changes" if failed else "complete"
    if action == "complete" and view.examined:
        return (StartExam(verdict.reasoning),)
    if action == "complete":
        return (Finish(RolloutStatus.SUCCEEDED, verdict.reasoning, verified=verdict.proven),)
    if action == "stop":
        return (Finish(RolloutStatus.FAILED, f"the review stopped it: {verdict.reasoning}"),)
    if action == "replan":
        return _replan(view, verdict)
    if view.review_rounds >= view.caps.review_rounds:
        reason = f"the review sent work back {view.review_rounds} times without success: {verdict.reasoning}"
        return (Finish(RolloutStatus.FAILED, reason),)
    known = {step.index for step in view.steps}
    named = tuple(index for index in verdict.steps if index in known) or failed or (max(known),)
    if action == "retry_same":
        return (Revise("retry_same", named, ""),)
    if action == "gather_info":
        return (Revise("gather_info", named, _told(verdict)),)
    return (Revise("retry_with_changes", named, _told(verdict)),)


def _replan(view: RolloutView, verdict: VerdictView) -> tuple[Action, ...]:
    if view.replans >= view.caps.replans:
        return (Finish(RolloutStatus.FAILED, f"{view.replans} replans did not help: {verdict.reasoning}"),)
    if verdict.same_again:
        reason = f"no progress: after {view.replans} replans {verdict.same_again!r} fails just as before"
        return (Finish(RolloutStatus.FAILED, f"{reason}. {verdict.reasoning}"),)
    return (StartPlan(feedback=_told(verdict), replan=True),)


def _told(verdict: VerdictView) -> str:
    return "\n\n".join(part for part in (verdict.reasoning, verdict.suggested_changes) if part)


def _again(history: Sequence[RunView], attempts: int = retry.FAILED_ATTEMPTS) -> retry.Again | retry.GiveUp:
    return retry.decide([retry.Ended(r.status, r.error_kind, r.error, r.retry_after) for r in history], attempts)


# ---- the goal above its rollouts


@dataclass(frozen=True, slots=True)
class Candidate:
    """A rollout as its goal sees it; `ended` counts up in order of completion, 0 while it is open."""

    id: Any
    number: int
    status: str
    verified: bool = False
    changed_lines: int | None = None
    ended: int = 0
    reason: str = ""
    score: float | None = None
    tokens: int | None = None
    votes: int = 0


@dataclass(frozen=True, slots=True)
class GoalView:
    status: str
    gate: Gate
    strategy: str
    rollouts: tuple[Candidate, ...]
    held: bool = False  # it is stopping, and something of it is not confirmed to be over
    judges: tuple[RunView, ...] = ()  # runs that were to break a tie, oldest first


@dataclass(frozen=True, slots=True)
class GoalDecision:
    """`losers`: open rollouts that are to be stopped because the race is decided. `judge`: candidates that a judge is to compare.

    `because`: why this one of several.
    """

    status: str
    reason: str = ""
    selected: Any = None
    verified: bool = False
    losers: tuple[Any, ...] = ()
    because: str = ""
    judge: tuple[Any, ...] = ()
    delay: float = 0.0


_PHASES = (
    (RolloutStatus.REVIEWING, GoalStatus.REVIEWING),
    (RolloutStatus.RUNNING, GoalStatus.RUNNING),
    (RolloutStatus.PLANNING, GoalStatus.PLANNING),
    (RolloutStatus.AWAITING_APPROVAL, GoalStatus.AWAITING_APPROVAL),
    (RolloutStatus.QUEUED, GoalStatus.QUEUED),
)


def decide_goal(view: GoalView) -> GoalDecision:
    """The goal's status as it follows from its rollouts, its gate and its strategy."""
    live = tuple(rollout for rollout in view.rollouts if rollout.status not in TERMINAL_ROLLOUT)
    best = winner(view)
    tie = tied(view, best) if best is not None else None
    if view.gate == "cancelling" and (best is None or tie is not None):
        if live or view.held:
            return GoalDecision(GoalStatus.CANCELLING)
        return GoalDecision(GoalStatus.CANCELLED, "cancelled")
    if tie is not None:
        return GoalDecision(GoalStatus.PAUSED) if view.gate == "paused" else tie
    if best is not None:
        losers = tuple(rollout.id for rollout in live)
        status = GoalStatus.CANCELLING if live or view.held else GoalStatus.SUCCEEDED
        return GoalDecision(status, best.reason, best.id, best.verified, losers, _because(view, best))
    if not live:
        if all(rollout.status == RolloutStatus.CANCELLED for rollout in view.rollouts):
            return GoalDecision(GoalStatus.CANCELLED, "cancelled")
        return GoalDecision(GoalStatus.FAILED, _reasons(view.rollouts))
    if view.gate == "paused":
        return GoalDecision(GoalStatus.PAUSED)
    phases = {rollout.status for rollout in live}
    return GoalDecision(next((goal for phase, goal in _PHASES if phase in phases), GoalStatus.CANCELLING))


def winner(view: GoalView) -> Candidate | None:
    """The rollout to be selected, once the race is decided.

    Early termination: the first *verified* success in order of completion; an unverified one never ends the others early. When
    all have ended, and for best-of-N always: the best by `scoring.rank`.
    """
    won = [rollout for rollout in view.rollouts if rollout.status == RolloutStatus.SUCCEEDED]
    verified = [rollout for rollout in won if rollout.verified]
    if view.strategy == Strategy.EARLY_TERMINATION and verified:
        return min(verified, key=lambda r: r.ended)
    if not won or any(rollout.status not in TERMINAL_ROLLOUT for rollout in view.rollouts):
        return None
    return min(won, key=scoring.rank)


def tied(view: GoalView, best: Candidate) -> GoalDecision | None:
    """What is to be done about others that are as good as the best one; None: nothing (any more)."""
    if view.strategy != Strategy.BEST_OF_N:
        return None
    won = [rollout for rollout in view.rollouts if rollout.status == RolloutStatus.SUCCEEDED]
    equal = tuple(rollout.id for rollout in won if scoring.merit(rollout) == scoring.merit(best))
    if len(equal) == 1:
        return None
    history = [run for run in view.judges if run.status != RunStatus.CANCELLED]
    if not history:
        return GoalDecision(GoalStatus.REVIEWING, judge=equal)
    if history[-1].is_live:
        return GoalDecision(GoalStatus.REVIEWING)
    if history[-1].status == RunStatus.SUCCEEDED:
        return None
    again = _again(history)
    if isinstance(again, retry.GiveUp):  # nobody can be asked: the lower number
        return None
    return GoalDecision(GoalStatus.REVIEWING, judge=equal, delay=again.delay)


def _because(view: GoalView, best: Candidate) -> str:
    """Why this one, where there was a choice."""
    if len(view.rollouts) == 1:
        return ""
    if view.strategy == Strategy.EARLY_TERMINATION and best.verified:
        return f"Rollout {best.number} was the first verified success."
    won = [r for r in view.rollouts if r.status == RolloutStatus.SUCCEEDED and r.id != best.id]
    return scoring.because(best, won)


def _reasons(rollouts: Sequence[Candidate]) -> str:
    failed = [rollout for rollout in rollouts if rollout.status == RolloutStatus.FAILED]
    if len(rollouts) == 1:
        return failed[0].reason
    return "\n".join(f"rollout {rollout.number}: {rollout.reason}" for rollout in failed)

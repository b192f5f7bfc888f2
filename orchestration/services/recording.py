"""record: what a run reports, accepted only with its fence, and advance: one transaction.

Each verb returns the run that the worker goes on with (a continuation), or None. A report of somebody who has lost the run raises
Fenced, and nothing of it is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone

from agents.contracts import CheckResult, PlanDraft, StepOutcome, Verdict
from agents.errors import Fenced, StaleEvidence
from agents.text import storable

from ..artifacts import value_row
from ..models import Artifact, Check, Goal, Question, Review, Rollout, Run, Step
from ..prepared import Prepared
from ..selectors import Picture, fill_in, in_hand, keep
from ..selectors.forecasts import forecast_of
from ..states import CheckPhase, PlanOrigin, RunKind, RunStatus, StepStatus
from ..transitions import Change, Outdated, compared, locked, repeatable
from .advancing import advance, look
from .approving import ask_about, decided_by
from .claiming import completed, continuation, loaded
from .planning import add_plan

OUTPUT_KEPT = 20_000  # characters of a check's output in its row


@dataclass(frozen=True, slots=True)
class Base:
    """What the first planning run of a goal found out about where it starts."""

    sha: str
    bundle: Artifact | None
    checks: Sequence[CheckResult]
    warnings: Sequence[str] = ()
    model: str = ""


@dataclass(frozen=True, slots=True)
class Merged:
    """A step's work as one commit on top of `onto`, with the cumulative bundle that holds it."""

    onto: str
    commit: str
    bundle: Artifact | None


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict with the evidence that the system itself made for it."""

    verdict: Verdict
    commit: str
    checks: Sequence[CheckResult]
    proven: bool
    changed_lines: int = 0
    patch: Artifact | None = None
    branch: str = ""
    remarks: Sequence[str] = ()
    asks: str = ""  # why a person decides first


@dataclass(frozen=True, slots=True)
class Examined:
    """What the clean room says: its checks, whether those that count passed, and a sentence."""

    commit: str
    checks: Sequence[CheckResult]
    passed: bool
    proven: bool
    said: str


class HeadMoved(Exception):
    """Another step was merged meanwhile: merge onto the new head and record again."""


@repeatable
def record_base(run: Run, base: Base) -> Goal:
    """Once a goal: base commit, the checks' results there, warnings. Whoever comes second gets what the first one recorded."""
    with locked(run.goal_id, by=run.worker) as change:
        _refuse_strangers(run)
        goal = change.goal
        if not goal.base_sha:
            goal.base_sha, goal.base_bundle, goal.model = base.sha, base.bundle, base.model
            goal.save(update_fields=["base_sha", "base_bundle", "model"])
            _keep_checks(change, run, base.checks, CheckPhase.BASE)
            for warning in base.warnings:
                change.note("repository.warning", reason=warning)
        Rollout.objects.filter(goal=goal, head="").update(head=goal.base_sha)
        Run.objects.filter(pk=run.pk, base_commit="").update(base_commit=goal.base_sha)
        return goal


@repeatable
def record_plan(run: Run, draft: PlanDraft, successor: str = "") -> Run | None:
    with locked(run.goal_id, by=run.worker) as change:
        _close(change, run, RunStatus.SUCCEEDED, outcome={"steps": len(draft.steps)})
        made = add_plan(change, run.rollout, run.revision, draft, PlanOrigin.PLANNER)
        if not change.goal.forecast:
            change.set(change.goal, forecast=forecast_of(change.goal).stored())
        ask_about(change, made)
        change.add(value_row(artifact_id(run), draft.model_dump(mode="json"), goal=change.goal), or_leave=True)
        following = _advance(change, run, successor)
    return loaded(following)


@repeatable
def record_step(
    run: Run,
    outcome: StepOutcome,
    merged: Merged,
    checks: Sequence[CheckResult],
    result: dict[str, Any],
    successor: str = "",
) -> Run | None:
    """The step has succeeded, and its commit is the rollout's head. Raises HeadMoved when the head is another by now.

    Whoever went on with this goal after its last record has all rows in hand, and writes this one without reading them again.
    """
    done = StepDone(run, outcome, merged, checks, result)
    known = in_hand(run)
    if known is not None:
        with suppress(Outdated):
            return _record_in_hand(done, known, successor)
    with locked(run.goal_id, by=run.worker) as change:
        if run.step is not None and run.step.can_parallelize:
            _refuse_late(run, merged.onto)
        seen = look(change, run)
        following = _step_done(change, seen, done, successor)
    whole = loaded(following)
    if whole is not None and following in change.queued and not (change.touched or seen.abandoned or seen.unanswered):
        keep(seen, whole, run)
    return whole


@dataclass(frozen=True, slots=True)
class StepDone:
    """What is recorded of a step that has succeeded."""

    run: Run
    outcome: StepOutcome
    merged: Merged
    checks: Sequence[CheckResult]
    result: dict[str, Any]


def _record_in_hand(done: StepDone, seen: Picture, successor: str) -> Run | None:
    """Decided on the rows in hand, and written if they are still true. Raises Outdated if not, or if something has to be looked up."""
    run = done.run
    fill_in(seen, run.rollout_id)
    try:
        with compared(seen.goal, run.pk, seen.closed, by=run.worker) as change:
            change.hold(*seen.rows)
            following = _step_done(change, seen, done, successor)
    except (Fenced, HeadMoved) as error:  # so it looks from here; the rows will tell
        raise Outdated(str(error)) from error
    if following is None:
        return None
    completed(following, seen, run)
    keep(seen, following, run)
    return following


def _step_done(change: Change, seen: Picture, done: StepDone, successor: str) -> Run | None:
    run, merged = done.run, done.merged
    rollout = seen.rollout(run.rollout_id)
    _refuse_strangers(run, seen)
    if rollout.head != merged.onto:
        raise HeadMoved
    bundle = {} if merged.bundle is None else {"head_bundle": merged.bundle}
    change.set(rollout, head=merged.commit, **bundle)
    _keep_checks(change, run, done.checks, CheckPhase.STEP)
    outcome = done.outcome.model_dump()
    _close(change, run, RunStatus.SUCCEEDED, seen=seen, commit=merged.commit, outcome=outcome)
    step = seen.step(rollout, run.step_id)
    change.move(step, StepStatus.SUCCEEDED, commit=merged.commit, summary=done.outcome.summary)
    change.add(value_row(artifact_id(run), done.result, goal=change.goal), or_leave=True)
    return continuation(change, run, successor, seen) if advance(change, seen) else None


@repeatable
def record_review(run: Run, judged: Judged, successor: str = "") -> Run | None:
    verdict = judged.verdict
    with locked(run.goal_id, by=run.worker) as change:
        _refuse_stale(run, judged)
        _keep_checks(change, run, judged.checks, CheckPhase.FINAL)
        _close(change, run, RunStatus.SUCCEEDED, commit=judged.commit, outcome=verdict.model_dump(exclude={"findings"}))
        said = verdict.model_dump(
            include={"action", "steps", "reasoning", "suggested_changes", "confidence", "evidence"}
        )
        findings = [finding.model_dump() for finding in verdict.findings]
        Review.objects.create(
            rollout=run.rollout,
            plan=run.plan,
            run=run,
            commit=judged.commit,
            proven=judged.proven,
            asks=judged.asks,
            expires_at=decided_by(change.goal) if judged.asks else None,
            findings=findings,
            **said,
        )
        Rollout.objects.filter(pk=run.rollout_id).update(
            changed_lines=judged.changed_lines, patch=judged.patch, branch=judged.branch
        )
        change.note(
            "review.recorded", f"{verdict.action}", reason=verdict.reasoning, data={"confidence": verdict.confidence}
        )
        if judged.asks:
            change.note("review.asks", verdict.action, reason=judged.asks)
        for remark in judged.remarks:
            change.note("branch.refused", reason=remark)
        following = _advance(change, run, successor)
    return loaded(following)


@repeatable
def record_exam(run: Run, found: Examined, successor: str = "") -> Run | None:
    """The last word on one of several candidates."""
    with locked(run.goal_id, by=run.worker) as change:
        _keep_checks(change, run, found.checks, CheckPhase.CLEAN)
        outcome = {"passed": found.passed, "proven": found.proven, "said": storable(found.said)[:8000]}
        _close(change, run, RunStatus.SUCCEEDED, commit=found.commit, outcome=outcome)
        following = _advance(change, run, successor)
    return loaded(following)


@repeatable
def record_votes(
    run: Run, votes: Mapping[int, int], samples: Sequence[Mapping[str, Any]], successor: str = ""
) -> Run | None:
    """How often a judge preferred each rollout (by number), and what it said each time."""
    with locked(run.goal_id, by=run.worker) as change:
        _close(change, run, RunStatus.SUCCEEDED, outcome={"votes": dict(votes), "samples": list(samples)})
        for number, times in votes.items():
            Rollout.objects.filter(goal_id=run.goal_id, number=number).update(votes=times)
        said = ", ".join(f"rollout {number}: {times}" for number, times in sorted(votes.items()))
        change.note("candidates.judged", reason=said or "no vote", data={"samples": list(samples)})
        following = _advance(change, run, successor)
    return loaded(following)


@repeatable
def record_question(run: Run, outcome: StepOutcome, successor: str = "") -> Run | None:
    """The run ends by asking a person; only what depends on its step waits for the answer."""
    asked = outcome.question
    assert asked is not None
    assert run.step is not None
    with locked(run.goal_id, by=run.worker) as change:
        _close(change, run, RunStatus.ASKED, outcome=outcome.model_dump(mode="json"))
        question = Question.objects.create(
            goal=change.goal,
            step=run.step,
            run=run,
            text=asked.text,
            choices=asked.choices,
            default=asked.default,
            expires_at=timezone.now() + timedelta(hours=asked.hours),
        )
        change.move(Step.objects.get(pk=run.step.pk), StepStatus.ASKING)
        data = {"question": str(question.pk), "step": run.step.index}
        change.note("question.asked", f"step {run.step.index}", reason=asked.text, data=data)
        following = _advance(change, run, successor)
    return loaded(following)


@repeatable
def record_failure(
    run: Run,
    status: RunStatus,
    error_kind: str,
    error: str,
    *,
    retry_after: float | None = None,
    checks: Sequence[CheckResult] = (),
    outcome: dict[str, Any] | None = None,
    successor: str = "",
) -> Run | None:
    """The run ended without a result: FAILED (the work said no) or ERRORED (we broke)."""
    error = storable(error)
    phase = CheckPhase.STEP if run.step_id else CheckPhase.BASE
    with locked(run.goal_id, by=run.worker) as change:
        _keep_checks(change, run, checks, phase)
        ended = {**(outcome or {}), **({"retry_after": retry_after} if retry_after is not None else {})}
        _close(change, run, status, reason=error[:2000], error_kind=error_kind, error=error[:20_000], outcome=ended)
        following = _advance(change, run, successor)
    return loaded(following)


def artifact_id(run: Run) -> str:
    """Where a plan's or a step's result is kept: under the id of the task that was called by hand, or of the run."""
    return f"{'plan' if run.kind == RunKind.PLAN else 'result'}-{run.goal.task_id or run.pk}"


def _advance(change: Change, run: Run, successor: str) -> Run | None:
    seen = advance(change)
    return continuation(change, run, successor, seen) if seen else None


def _refuse_strangers(run: Run, seen: Picture | None = None) -> None:
    """Raises Fenced if the run belongs to somebody else by now; `seen`: what was read under the goal's lock."""
    if seen is not None:
        mine = _as_seen(run, seen) is not None
    else:
        mine = Run.objects.filter(pk=run.pk, fence=run.fence, status=RunStatus.RUNNING).exists()
    if not mine:
        raise Fenced(f"{run} was taken over or ended meanwhile; this report is not accepted")


def _refuse_stale(run: Run, judged: Judged) -> None:
    """A check proves something about the commit that it ran on, and about no other. Raises StaleEvidence."""
    head = Rollout.objects.values_list("head", flat=True).get(pk=run.rollout_id)
    older = [check.command for check in judged.checks if check.commit != judged.commit]
    if judged.commit and (older or judged.commit != head):
        what = f"the check {older[0]!r}" if older else "this review"
        raise StaleEvidence(
            f"{what} is older than the newest change of the files, commit {head[:10]}: it proves nothing about it"
        )


def _refuse_late(run: Run, onto: str) -> None:
    """Of n steps that end at once each may have to try n times, one after the other: who comes in vain reads no more than this."""
    found = _where_it_stands.one(run.pk, run.fence)
    if found is None:
        raise Fenced(f"{run} was taken over or ended meanwhile; this report is not accepted")
    if found.head != onto:
        raise HeadMoved


_where_it_stands = Prepared(
    lambda run, fence: Rollout.objects.filter(runs__pk=run, runs__fence=fence, runs__status=RunStatus.RUNNING).only(
        "head"
    ),
    *(UUID, int),
)


def _as_seen(run: Run, seen: Picture) -> Run | None:
    """The row that was read under the lock, if it is still this claim."""
    rows = seen.runs.get(run.rollout_id, [])
    return next((r for r in rows if (r.pk, r.fence, r.status) == (run.pk, run.fence, RunStatus.RUNNING)), None)


def _close(
    change: Change, run: Run, status: RunStatus, *, reason: str = "", seen: Picture | None = None, **fields: Any
) -> None:
    step = {"step": run.step.index} if run.step else {}
    data = {"run": str(run.pk), "attempt": run.attempt, "error_kind": fields.get("error_kind", ""), **step}
    held = _as_seen(run, seen) if seen is not None else None
    if not change.move(held or run, status, reason=reason, data=data, **fields):
        raise Fenced(f"{run} was taken over or ended meanwhile; this report is not accepted")


def _keep_checks(change: Change, run: Run, checks: Sequence[CheckResult], phase: CheckPhase) -> None:
    for check in checks:
        row = check.model_dump(exclude={"output", "log"})
        about = {"goal": change.goal, "rollout": None if phase == CheckPhase.BASE else run.rollout, "run": run}
        change.add(Check(**about, phase=phase, output=check.output[-OUTPUT_KEPT:], log_id=check.log or None, **row))
        new = "passed" if check.passed else "failed"
        data = {
            "phase": phase.value,
            "exit_code": check.exit_code,
            "command": check.command[:300],
            "origin": check.origin,
            **({"flaky": True} if check.flaky else {}),
        }
        change.note("check.ran", phase.label, new=new, reason=check.command[:300], data=data)

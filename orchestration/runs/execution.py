"""A step run: the executor works on a fresh clone at head, its check proves it, the commit is merged onto the head of now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.db.models import Exists, QuerySet

from agents.contracts import Answer, CheckResult, DoneStep, StepBrief, StepOutcome
from agents.executor import ExecutorAgent
from agents.loop import Patience
from agents.text import storable

from .. import services
from ..active import ActiveRun
from ..blobs import load_blob, save_blob
from ..journal import Journal, release_connection
from ..journaled_llm import JournaledLLM
from ..models import Call, Check, Goal, Question, Rollout, Run, Step
from ..services import HeadMoved, Merged
from ..states import CallKind, CallStatus, CheckOrigin, CheckPhase, RunStatus
from .base import based
from .bench import Bench, Tools, bench, open_at, refuse_missing
from .crew import crew_for

MERGES = 5
DIFF_KEPT = 60_000
MOST_QUESTIONS = 5  # of one step


def execute(tools: Tools, active: ActiveRun) -> Run | None:
    """Work a claimed step run to its record."""
    run, goal = active.run, based(tools, active)
    brief, crew = _brief(run), crew_for(tools, run, "executor")
    with bench(tools, active, goal, f"step-{str(run.pk)[:8]}") as place:
        open_at(place, goal, run.rollout.head_bundle, run.base_commit)
        journal = Journal(active, place)
        journal.open()
        agent = ExecutorAgent(
            JournaledLLM(journal, crew.llm),
            journal.sandbox(place.sandbox),
            max_turns=settings.AGENT_MAX_STEPS,
            command_timeout=float(settings.COMMAND_TIMEOUT_SECONDS),
            tool_calls=crew.tool_calls,
            patience=Patience(**settings.STUCK),
            prompt_budget=crew.prompt_budget,
        )
        outcome = agent.execute(brief)
        if outcome.question is not None:
            return _ask(active, outcome)
        if not outcome.success:
            return _say_no(active, _why(outcome), [], outcome)
        return _prove_and_merge(place, active, outcome)


def _ask(active: ActiveRun, outcome: StepOutcome) -> Run | None:
    """The run ends, and no worker is held until a person has answered. One that asks on and on does no work."""
    run = active.run
    if run.goal.only:  # whoever called the task waits for its result, and nobody else knows of it
        return _say_no(active, outcome.summary, [], outcome)
    if len(_answers(run)) >= MOST_QUESTIONS:
        return _say_no(
            active, f"it asked more than {MOST_QUESTIONS} questions; the last: {outcome.summary}", [], outcome
        )
    return services.record_question(run, outcome, active.successor)


def _prove_and_merge(place: Bench, active: ActiveRun, outcome: StepOutcome) -> Run | None:
    """The step's own check on its tree, and again after every merge onto a head that others moved."""
    run = active.run
    assert run.step is not None
    commit = place.workspace.commit(_message(run), place.when)
    onto, merged, checks = run.base_commit, commit, _own_check(place, run, commit)
    for _ in range(MERGES):
        if any(not check.passed for check in checks):
            return _say_no(active, _failed(checks), checks, outcome)
        active.check()
        bundle = place.workspace.bundle(place.base_sha, merged)
        stored = save_blob("bundle", bundle, media_type="application/x-git-bundle", goal=run.goal) if bundle else None
        report = Merged(onto, merged, stored)
        try:
            return services.record_step(
                run, outcome, report, checks, _result(place, run, outcome, report, checks), active.successor
            )
        except HeadMoved:
            onto = _fetch_head(place, run)
            merged = place.workspace.merge(onto, commit, _message(run), place.when)
            checks = _own_check(place, run, merged) if merged != onto else []
    return services.record_failure(
        run,
        RunStatus.ERRORED,
        "transient",
        f"the head moved {MERGES} times during the merge",
        successor=active.successor,
    )


def _fetch_head(place: Bench, run: Run) -> str:
    """The head as it is now, with its commits in our vault."""
    rollout = Rollout.objects.select_related("head_bundle").get(pk=run.rollout_id)
    if rollout.head_bundle is not None:
        place.workspace.fetch(load_blob(rollout.head_bundle.pk))
    release_connection()
    return rollout.head


def _own_check(place: Bench, run: Run, commit: str) -> list[CheckResult]:
    assert run.step is not None
    release_connection()
    if not run.step.check_command:
        return []
    place.workspace.restore(commit)
    checks = place.check_all([(run.step.check_command, CheckOrigin.STEP.value)], commit)
    refuse_missing(checks)
    return checks


def _say_no(active: ActiveRun, why: str, checks: Sequence[CheckResult], outcome: StepOutcome) -> Run | None:
    """An honest failure: the work itself says no, or its check does."""
    said = outcome.model_dump()
    return services.record_failure(
        active.run, RunStatus.FAILED, "work", why, checks=checks, outcome=said, successor=active.successor
    )


def _why(outcome: StepOutcome) -> str:
    limits = {
        "stuck": "the executor did the same again and again with the same result (STUCK_REPEATS, STUCK_PAIRS)",
        "turns": f"the executor did not finish within {settings.AGENT_MAX_STEPS} turns (AGENT_MAX_STEPS)",
        "talk": f"the model answered without any action {settings.STUCK['silences']} times in a row (STUCK_SILENCES)",
    }
    return "; ".join(part for part in (limits.get(outcome.stopped, ""), outcome.summary) if part) or "it gave up"


def _failed(checks: Sequence[CheckResult]) -> str:
    check = next(check for check in checks if not check.passed)
    how = "ran out of time" if check.timed_out else f"ended with exit code {check.exit_code}"
    return f"the step's check {check.command!r} {how}:\n{check.output[-3000:]}"


def _message(run: Run) -> str:
    assert run.step is not None
    first = run.step.description.strip().splitlines()[0][:72]
    return f"{first}\n\ngoal {run.goal.short_id}, step {run.step.index}"


# ---- what the executor is told, and what is kept of its work


def _brief(run: Run) -> StepBrief:
    """Made at the first claim and kept: a take-over must be told the same words, or its record would not fit."""
    if kept := run.brief.get("brief"):
        return StepBrief.model_validate(kept)
    assert run.step is not None
    steps = list(Step.objects.filter(plan=run.plan).annotate(asked=Exists(_questions(run))).order_by("index"))
    brief = StepBrief(
        goal=run.goal.text,
        context=_context(run.goal, run.rollout),
        step=services.draft_of(run.step),
        outline=[DoneStep(index=s.index, description=s.description, status=s.status, summary=s.summary) for s in steps],
        guidance=run.step.guidance,
        failures=[earlier.error[-3000:] for earlier in _earlier(run)],
        answers=_answers(run) if any(step.asked and step.pk == run.step_id for step in steps) else [],
        checks=list(run.goal.checks) or _discovered(run.goal),
    )
    run.brief = {**run.brief, "brief": brief.model_dump(mode="json")}
    Run.objects.filter(pk=run.pk).update(brief=run.brief)
    return brief


def _questions(run: Run) -> QuerySet[Question]:
    """Those of this step that have an answer, also of the steps that it was carried over from."""
    assert run.step is not None
    same = {"step__index": run.step.index, "step__description": run.step.description}
    return Question.objects.filter(step__rollout=run.rollout_id, **same).exclude(answer="")


def _answers(run: Run) -> list[Answer]:
    return [Answer(question=q.text, answer=q.answer, by=q.by) for q in _questions(run).order_by("created_at")]


def _context(goal: Goal, rollout: Rollout) -> dict[str, Any]:
    return {**goal.context, "approach": rollout.diversity} if rollout.diversity else dict(goal.context)


def _earlier(run: Run) -> Sequence[Run]:
    same = Run.objects.filter(step=run.step, attempt__lt=run.attempt, status__in=(RunStatus.FAILED, RunStatus.ERRORED))
    return list(same.order_by("attempt"))


def _discovered(goal: Goal) -> list[str]:
    found = Check.objects.filter(goal=goal, phase=CheckPhase.BASE, origin=CheckOrigin.DISCOVERED)
    return list(found.values_list("command", flat=True))


def _result(
    place: Bench, run: Run, outcome: StepOutcome, merged: Merged, checks: Sequence[CheckResult]
) -> dict[str, Any]:
    """The value of the result artifact: evidence about one step, readable without the database."""
    assert run.step is not None
    commands = Call.objects.filter(run=run, kind=CallKind.COMMAND, status=CallStatus.DONE).order_by("turn", "index")
    said = [{"command": call.request.get("script", ""), "exit_code": call.exit_code} for call in commands]
    release_connection()
    diff = place.workspace.diff(merged.onto, merged.commit)
    return {
        "goal_id": str(run.goal_id),
        "goal": run.goal.text,
        "step": {"index": run.step.index, "description": run.step.description},
        **outcome.model_dump(include={"success", "summary", "evidence"}),
        "commit": merged.commit,
        "diff": storable(diff[:DIFF_KEPT]),
        "checks": [check.model_dump(mode="json") for check in checks],
        "commands": said,
    }

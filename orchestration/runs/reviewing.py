"""A review run: the checks on the final commit in a fresh sandbox, then the reviewer, who sees evidence only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agents.checking import HARNESS_FILES, exam_files
from agents.contracts import CheckResult, DoneStep, Evidence, ReviewBrief, Verdict
from agents.delivery import DeliveryProblem, deliver
from agents.errors import InvalidReply
from agents.reviewer import ReflectorAgent, cited, conceal, overrule

from .. import services
from ..active import ActiveRun
from ..artifacts import DistributedArtifactStore
from ..blobs import load_blob, save_blob
from ..journal import Journal, release_connection
from ..journaled_llm import JournaledLLM
from ..judging import asks_person, between, judge_of, verdict_of_checks
from ..models import Call, Check, Review, Run, Step
from ..proof import GIVEN, gating, may_differ, proven
from ..services import Judged
from ..states import FINISHED_STEP, CallKind, CallStatus, CheckPhase, RunKind
from .bench import Bench, Tools, bench, keep_logs, open_at, refuse_missing
from .crew import crew_for
from .planning import base_checks

DIFF_SHOWN = 60_000
COMMANDS_SHOWN = 30


def review(tools: Tools, active: ActiveRun) -> Run | None:
    """Work a claimed review run to its record."""
    run = active.run
    if run.goal.only == RunKind.REVIEW:
        return _review_artifact(tools, active)
    head = run.base_commit or run.goal.base_sha
    with bench(tools, active, run.goal, f"review-{str(run.pk)[:8]}") as place:
        open_at(place, run.goal, run.rollout.head_bundle, head)
        patch, lines = (
            place.workspace.diff(run.goal.base_sha, head),
            place.workspace.changed_lines(run.goal.base_sha, head),
        )
        before = base_checks(run.goal)
        after = checks_on_result(place, run, before, head)
        verdict = _verdict(tools, active, patch, before, after)
    active.check()
    stored = save_blob("patch", patch.encode("utf-8", "surrogateescape"), media_type="text/x-diff", goal=run.goal)
    branch, remarks = _deliver(tools, run, verdict, head)
    asks = asks_person(run.goal.reviewed_by, run.goal.ask_below, verdict)
    judged = Judged(verdict, head, after, proven(before, after), lines, stored, branch, remarks, asks)
    return services.record_review(run, judged, active.successor)


def _verdict(
    tools: Tools, active: ActiveRun, patch: str, before: Sequence[CheckResult], after: Sequence[CheckResult]
) -> Verdict:
    """By the goal's review policy; whoever gives it, the checks have the last word on a result."""
    run, counting = active.run, gating(before, after)
    brief = _brief(run, patch, before, after)
    if judge_of(run.goal.review_when, run.goal.reviewed_by, before, after, brief.problem) == "checks":
        verdict = verdict_of_checks(before, after, brief.problem, last=not brief.still_to_come)
    else:
        crew = crew_for(tools, run, "reviewer")
        journal = Journal(active)
        journal.open()
        verdict = ReflectorAgent(JournaledLLM(journal, crew.llm)).judge(brief)
        if brief.evidence and not cited(verdict, brief):
            verdict = by_checks(before, after)
    if brief.still_to_come:
        verdict = between(verdict, [check for check in counting if not check.passed])
    else:
        verdict = overrule(verdict, counting)
    return conceal(verdict, after)


def by_checks(before: Sequence[CheckResult], after: Sequence[CheckResult]) -> Verdict:
    """A reviewer that cites nothing, also when asked again, has given no verdict. Raises InvalidReply where no check proves it."""
    if not proven(before, after):
        raise InvalidReply(
            "the reviewer cited no evidence, also when it was asked again: that is no verdict, "
            "and the checks do not prove the result without one"
        )
    passed = [f"c{n}" for n, check in enumerate(after, 1) if check.passed]
    why = "The reviewer cited no evidence, so what it said does not count: the checks prove the result."
    return Verdict(action="complete", reasoning=why, confidence=1.0, evidence=passed)


def checks_on_result(place: Bench, run: Run, before: Sequence[CheckResult], head: str) -> list[CheckResult]:
    """The same checks as on the base, in this fresh sandbox, with the check files as they were at the base."""
    if not run.goal.allow_check_edits:
        place.workspace.restore_checks(run.goal.base_sha, exam_files(before), HARNESS_FILES)
    release_connection()
    checks = place.check_all([(check.command, check.origin) for check in before if not check.missing], head)
    refuse_missing([check for check in checks if check.origin in GIVEN])
    return keep_logs(run.goal, place.confirm(checks, may_differ(before, checks)))


def _brief(run: Run, patch: str, before: Sequence[CheckResult], after: Sequence[CheckResult]) -> ReviewBrief:
    steps = list(Step.objects.filter(plan=run.plan).order_by("index"))
    brief = ReviewBrief(
        goal=run.goal.text,
        steps=[DoneStep(index=s.index, description=s.description, status=s.status) for s in steps],
        expected=[f"step {s.index}: {s.expected_outcome}" for s in steps if s.expected_outcome],
        diff=_clip(patch, DIFF_SHOWN),
        checks_before=list(before),
        checks_after=list(after),
        evidence=[*_check_evidence(after, "c"), *_step_evidence(run), *_command_evidence(run)],
        earlier=[_earlier(review) for review in Review.objects.filter(rollout=run.rollout)],
        problem=run.brief.get("problem", ""),
        still_to_come=[f"step {s.index}: {s.description}" for s in steps if s.status not in FINISHED_STEP]
        if run.brief.get("between")
        else [],
    )
    release_connection()
    return brief


def _check_evidence(checks: Sequence[CheckResult], prefix: str) -> list[Evidence]:
    return [
        Evidence(
            id=f"{prefix}{n}",
            title=f"check: {check.command}",
            exit_code=check.exit_code,
            output=_clip(check.output, 6000),
        )
        for n, check in enumerate(checks, 1)
    ]


def _step_evidence(run: Run) -> list[Evidence]:
    """The steps' own checks, in the order in which they ran."""
    rows = Check.objects.filter(rollout=run.rollout, phase=CheckPhase.STEP).order_by("pk")[:COMMANDS_SHOWN]
    return [
        Evidence(
            id=f"s{n}", title=f"a step's check: {row.command}", exit_code=row.exit_code, output=_clip(row.output, 2000)
        )
        for n, row in enumerate(rows, 1)
    ]


def _command_evidence(run: Run) -> list[Evidence]:
    """The last commands that executors ran, with what the system saw: never what an executor said about them."""
    calls = Call.objects.filter(
        run__rollout=run.rollout, run__kind=RunKind.STEP, kind=CallKind.COMMAND, status=CallStatus.DONE
    ).order_by("-pk")[:COMMANDS_SHOWN]
    shown = []
    for n, call in enumerate(reversed(list(calls)), 1):
        answer = call.answer or {}
        output = "\n".join(part for part in (answer.get("stdout", ""), answer.get("stderr", "")) if part)
        title = f"command: {call.request.get('script', '')[:300]}"
        shown.append(Evidence(id=f"x{n}", title=title, exit_code=call.exit_code, output=_clip(output, 1500)))
    return shown


def _earlier(review: Review) -> Verdict:
    names = ("action", "reasoning", "suggested_changes", "confidence", "steps")
    return Verdict(**{name: getattr(review, name) for name in names})


def _deliver(tools: Tools, run: Run, verdict: Verdict, head: str) -> tuple[str, list[str]]:
    """The result branch in the person's repository, before the goal ends; HEAD, index and work tree are never touched.

    Its name belongs to this rollout alone, so an earlier attempt's branch is replaced. A refusal does not cost the result: it is in
    the database as a patch, and the goal's story says why there is no branch.
    """
    goal = run.goal
    wanted = {"complete"} if run.brief.get("between") else {"complete", "continue"}
    if verdict.action not in wanted or goal.repository is None or head == goal.base_sha:
        return "", []
    if goal.base_bundle is None or run.rollout.head_bundle is None or not services.still_mine(run):
        return "", []
    branch = f"compymac/{goal.short_id}/{run.rollout.number}"
    bundles = [load_blob(goal.base_bundle.pk), load_blob(run.rollout.head_bundle.pk)]
    release_connection()
    try:
        deliver(tools.folder / "quarantine", Path(goal.repository.path), bundles, head, branch)
    except DeliveryProblem as problem:
        return "", [f"the branch {branch} could not be made: {problem}; the patch is kept"]
    return branch, []


def _clip(text: str, longest: int) -> str:
    """Head and tail, with a word about what was left out."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters left out …]\n{text[-half:]}"


def _review_artifact(tools: Tools, active: ActiveRun) -> Run | None:
    """A review called by hand on a result artifact: its diff, checks and commands are the evidence."""
    run = active.run
    value = DistributedArtifactStore().get(run.goal.context.get("result", ""))
    release_connection()
    crew = crew_for(tools, run, "reviewer")
    journal = Journal(active)
    journal.open()
    agent = ReflectorAgent(JournaledLLM(journal, crew.llm))
    verdict = agent.judge(agent.brief_of(value if isinstance(value, dict) else {"result": value}))
    return services.record_review(run, Judged(verdict, "", [], False), active.successor)

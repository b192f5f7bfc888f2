"""A plan run: fix where the goal starts (once), see how its checks do there, and ask the planner."""

from __future__ import annotations

from pathlib import Path

from agents.checking import discover_checks
from agents.contracts import CheckResult, DoneStep, PlanBrief
from agents.planner import PlannerAgent
from agents.source import Source, empty_source, read_source
from agents.survey import survey, tracked_files

from .. import services
from ..active import ActiveRun
from ..blobs import save_blob
from ..journal import Journal, release_connection
from ..models import Check, Goal, Run, Step
from ..states import CheckOrigin, CheckPhase
from .bench import Bench, Tools, bench, open_at, refuse_missing


def plan(tools: Tools, active: ActiveRun, successor: str) -> Run | None:
    """Work a claimed plan run to its record."""
    run = active.run
    goal = run.goal if run.goal.base_sha else _find_base(tools, active)
    run.rollout.refresh_from_db()
    llm = tools.make_llm()
    with bench(tools, active, goal, f"plan-{str(run.pk)[:8]}") as place:
        open_at(place, goal, run.rollout.head_bundle, run.rollout.head or goal.base_sha)
        journal = Journal(active)
        journal.open()
        brief = brief_for(run, goal, survey(place.sandbox))
        release_connection()
        draft = PlannerAgent(journal.llm(llm), journal.sandbox(place.sandbox), tool_calls=tools.tool_calls).plan(brief)
    return services.record_plan(run, draft, successor)


def brief_for(run: Run, goal: Goal, seen: str) -> PlanBrief:
    """What the planner is told; after a review also what was done and what was wrong with it."""
    told = dict(goal.context)
    if run.rollout.diversity:
        told["approach"] = run.rollout.diversity
    return PlanBrief(
        goal=goal.text,
        context=told,
        commit=run.rollout.head,
        survey=seen,
        checks=base_checks(goal),
        done=[_done(step) for step in Step.objects.filter(plan__rollout=run.rollout, plan__revision=run.revision - 1)],
        feedback=run.brief.get("feedback", ""),
    )


def base_checks(goal: Goal) -> list[CheckResult]:
    """The checks as they did on the base commit."""
    rows = Check.objects.filter(goal=goal, phase=CheckPhase.BASE)
    names = [name for name in CheckResult.model_fields if name != "output"]
    return [CheckResult(**{name: getattr(row, name) for name in names}, output=row.output[-4000:]) for row in rows]


def _done(step: Step) -> DoneStep:
    return DoneStep(index=step.index, description=step.description, status=step.status, summary=step.summary)


def _find_base(tools: Tools, active: ActiveRun) -> Goal:
    """The first planning run of a goal resolves its commit, stores it as a bundle, and runs the checks there."""
    run, goal = active.run, active.run.goal
    release_connection()
    source = _source(tools, goal)
    goal.base_sha = source.sha
    goal.base_bundle = save_blob("bundle", source.bundle, media_type="application/x-git-bundle", goal=goal)
    with bench(tools, active, goal, f"base-{str(run.pk)[:8]}") as place:
        open_at(place, goal, None, source.sha)
        checks = _checks_at_base(place, goal)
    base = services.Base(source.sha, goal.base_bundle, checks, source.warnings, tools.make_llm().model)
    recorded = services.record_base(run, base)
    refuse_missing([check for check in checks if check.origin == CheckOrigin.PERSON.value])
    return recorded


def _source(tools: Tools, goal: Goal) -> Source:
    if goal.repository is None:
        return empty_source(tools.provider, int(goal.created_at.timestamp()))
    return read_source(tools.provider, Path(goal.repository.path), goal.base_ref or "HEAD")


def _checks_at_base(place: Bench, goal: Goal) -> list[CheckResult]:
    """Given checks, or those that the repository itself shows; a discovered one whose program is missing here is left out."""
    if goal.checks:
        return place.check_all([(command, CheckOrigin.PERSON.value) for command in goal.checks], goal.base_sha)
    files = tracked_files(place.sandbox)
    found = [(command, CheckOrigin.DISCOVERED.value) for command in discover_checks(files, place.sandbox.read)]
    return [check for check in place.check_all(found, goal.base_sha) if not check.missing]

"""A plan run: ask the planner, who sees the repository and how the checks do on its base commit."""

from __future__ import annotations

from agents.contracts import CheckResult, DoneStep, PlanBrief
from agents.planner import PlannerAgent
from agents.survey import survey

from .. import services
from ..active import ActiveRun
from ..journal import Journal, release_connection
from ..journaled_llm import JournaledLLM
from ..models import Check, Goal, Run, Step
from ..states import CheckOrigin, CheckPhase
from .base import based
from .bench import Tools, bench, open_at
from .crew import crew_for


def plan(tools: Tools, active: ActiveRun) -> Run | None:
    """Work a claimed plan run to its record."""
    run = active.run
    goal = based(tools, active)
    crew = crew_for(tools, run, "planner")
    with bench(tools, active, goal, f"plan-{str(run.pk)[:8]}") as place:
        open_at(place, goal, run.rollout.head_bundle, run.rollout.head or goal.base_sha)
        journal = Journal(active)
        journal.open()
        brief = brief_for(run, goal, survey(place.sandbox))
        release_connection()
        draft = PlannerAgent(
            JournaledLLM(journal, crew.llm),
            journal.sandbox(place.sandbox),
            tool_calls=crew.tool_calls,
            prompt_budget=crew.prompt_budget,
        ).plan(brief)
    return services.record_plan(run, draft, active.successor)


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
        checks=[check for check in base_checks(goal) if check.origin != CheckOrigin.HIDDEN.value],
        done=[_done(step) for step in Step.objects.filter(plan__rollout=run.rollout, plan__revision=run.revision - 1)],
        feedback=run.brief.get("feedback", ""),
    )


def base_checks(goal: Goal) -> list[CheckResult]:
    """The checks as they did on the base commit."""
    rows = Check.objects.filter(goal=goal, phase=CheckPhase.BASE)
    names = CheckResult.model_fields.keys() - {"output", "log"}
    return [CheckResult(**{name: getattr(row, name) for name in names}, output=row.output[-4000:]) for row in rows]


def _done(step: Step) -> DoneStep:
    return DoneStep(index=step.index, description=step.description, status=step.status, summary=step.summary)

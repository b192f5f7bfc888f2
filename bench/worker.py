"""Our worker for the benchmarks: Celery's worker with the real services, journal, threads and continuation, and with procedures that
make no sandbox and no commit, since the peers' step is a Python function too: `python -m bench.worker -A compymac_site worker …`.

What a real step does beside this: a sandbox, git, and one more commit (its brief). docs/performance.md has both figures.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from pathlib import Path

import django

django.setup()

from celery.__main__ import main
from django.conf import settings

from agents.contracts import PlanDraft, StepDraft, StepOutcome, Verdict
from agents.llm.registry import from_environment
from agents.ports import CompletionRequest, Message
from bench.peers.common import Marks
from orchestration import equipment, runtime, services
from orchestration.active import ActiveRun
from orchestration.journal import Journal
from orchestration.journaled_llm import JournaledLLM
from orchestration.models import Run
from orchestration.runs.bench import Tools
from orchestration.runs.envelope import PROCEDURES
from orchestration.services import Base, HeadMoved, Judged, Merged
from orchestration.states import RunKind

marks = Marks(os.environ["MARKS"])


def plan(tools: Tools, active: ActiveRun) -> Run | None:
    """The first step of a fan; of a chain only what makes the steps."""
    run, asked = active.run, active.run.goal.context
    services.record_base(run, Base(_commit("base"), None, []))
    if asked["fan"]:
        _work(active, 0)
    steps = [
        StepDraft(
            index=n,
            description=f"step {n}",
            can_parallelize=asked["fan"],
            dependencies=[] if asked["fan"] or n == 0 else [n - 1],
        )
        for n in range(asked["steps"])
    ]
    return services.record_plan(run, PlanDraft(summary="the bench's", steps=steps), active.successor)


def execute(tools: Tools, active: ActiveRun) -> Run | None:
    run = active.run
    _work(active, run.step.index + run.goal.context["fan"])
    onto = run.base_commit
    while True:
        merged = Merged(onto, _commit(f"{onto} {run.pk}"), None)
        try:
            return services.record_step(
                run, StepOutcome(success=True, summary="done"), merged, [], {}, active.successor
            )
        except HeadMoved:
            onto = services.current_head(run)


def review(tools: Tools, active: ActiveRun) -> Run | None:
    run = active.run
    if run.goal.context["fan"]:
        _work(active, run.goal.context["steps"] + 1)
    verdict = Verdict(action="complete", reasoning="the bench says so", confidence=1.0)
    return services.record_review(run, Judged(verdict, run.base_commit, [], False), active.successor)


def _work(active: ActiveRun, index: int) -> None:
    """What a step of the peers does: a mark, and a model call if one is asked for; ours is journaled."""
    began, served = time.monotonic(), 0.0
    journal = Journal(active)
    journal.open()
    call = active.run.goal.context["call"]
    if call is not None:
        prompt = Message("user", f"step {index} of {active.run.goal_id}")
        llm = from_environment(settings.LLM_ENVIRONMENT | {"LLM_BASE_URL": f"{os.environ['MODEL_URL']}/{call}/v1"})
        served = float(
            JournaledLLM(journal, llm).complete(CompletionRequest((prompt,), max_tokens=100)).message.content
        )
    marks.add(str(active.run.goal_id), index, began, served)


def _commit(what: str) -> str:
    return hashlib.sha1(what.encode()).hexdigest()


class NoSandbox:
    """Nothing here opens one."""

    name, dependency, scratch = "none", "", Path(os.devnull)
    layers: tuple[str, ...] = ()

    def sweep(self) -> int:
        return 0


PROCEDURES.update({RunKind.PLAN: plan, RunKind.STEP: execute, RunKind.REVIEW: review})
equipment.make_tools = runtime.make_tools = lambda name: Tools(name, NoSandbox(), equipment.make_llm)  # type: ignore
runtime.name_of_sandbox = lambda: "none"

if __name__ == "__main__":
    sys.exit(main())

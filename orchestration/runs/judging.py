"""A judge run: candidates that are equal in all that is measured are compared by a model, three times in an order of chance."""

from __future__ import annotations

from agents.judge import JudgeAgent, votes

from .. import services
from ..active import ActiveRun
from ..blobs import load_blob
from ..flow import winner
from ..journal import Journal, release_connection
from ..journaled_llm import JournaledLLM
from ..models import Rollout, Run
from ..scoring import merit
from ..selectors import goal_view
from ..states import RolloutStatus
from .bench import Tools
from .crew import crew_for


def judge(tools: Tools, active: ActiveRun) -> Run | None:
    """Work a claimed judge run to its record."""
    run = active.run
    diffs = _candidates(run)
    crew = crew_for(tools, run, "judge")
    release_connection()
    journal = Journal(active)
    journal.open()
    samples = JudgeAgent(JournaledLLM(journal, crew.llm)).choose(run.goal.text, diffs, str(run.goal_id))
    said = [{"preferred": number, "reasoning": why} for number, why in samples]
    return services.record_votes(run, votes(samples), said, active.successor)


def _candidates(run: Run) -> list[tuple[int, str]]:
    """The diffs of those that are equal, by number."""
    rollouts = list(Rollout.objects.filter(goal=run.goal).order_by("number"))
    view = goal_view(run.goal, rollouts)
    best = winner(view)
    assert best is not None, "the race is not over"
    equal = {c.id for c in view.rollouts if c.status == RolloutStatus.SUCCEEDED and merit(c) == merit(best)}
    return [(r.number, _diff(r)) for r in rollouts if r.pk in equal]


def _diff(rollout: Rollout) -> str:
    return load_blob(rollout.patch_id).decode("utf-8", "replace") if rollout.patch_id else ""

"""The model is away for a while, over real HTTP and in worker processes: goals wait, none fails, all succeed after it is back."""

from __future__ import annotations

import pytest

from agents.llm.demo_server import Faults
from orchestration import services
from orchestration.models import Breaker, Goal, Run
from tests.support.installation import EXAMPLE_CHECK, EXAMPLE_GOAL, Installation, story, until

pytestmark = pytest.mark.long

QUICK = {"BREAKER_FIRST_SECONDS": "0.5", "BREAKER_LONGEST_SECONDS": "1"}


@pytest.mark.parametrize("status", [503, 429])
def test_goals_outlive_a_model_that_is_away(installation: Installation, status: int) -> None:
    installation.model.faults = Faults(nth=1, status=status)
    for _ in range(2):
        installation.worker(**QUICK)
    repo = installation.example()
    goals = [
        services.submit_goal(EXAMPLE_GOAL, repo=repo, checks=[EXAMPLE_CHECK], allow_repo=True, by=None)
        for _ in range(5)
    ]
    assert until(lambda: Breaker.objects.filter(probes__gte=2).exists(), 40), installation.logs()
    assert not Run.objects.filter(status="errored").exists(), "no attempt is spent, not even before it opened"
    assert not Goal.objects.filter(status="failed").exists()
    installation.model.faults = Faults()
    for goal in goals:
        assert installation.ended(goal, 90).status == "succeeded", story(goal)
    assert not Run.objects.exclude(attempt=1).exists()
    assert Breaker.objects.get().status == "closed"

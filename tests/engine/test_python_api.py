"""What the Python API takes in its context is what a goal takes; the rest is for the agents."""

from __future__ import annotations

import inspect

import pytest

from orchestration import services
from orchestration.models import Goal
from orchestration.orchestrator import OPTIONS, DistributedOrchestrator

pytestmark = pytest.mark.django_db(transaction=True)


def test_every_option_is_one_of_a_goal() -> None:
    assert set(OPTIONS) <= set(inspect.signature(services.submit_goal).parameters)


def test_options_are_taken_and_the_rest_is_told() -> None:
    options = {"review": {"reviewed_by": "human"}, "priority": 9, "limits": {"usd": "3", "tokens": 9_000}}
    goal = Goal.objects.get(pk=DistributedOrchestrator().submit("one", {"why": "to see it", **options}))
    assert (goal.context, goal.priority, goal.reviewed_by) == ({"why": "to see it"}, 9, "human")
    assert goal.budget.max_micro_usd == 3_000_000

"""The suites can fail: with the fence off, and with the housekeeper off, they notice; with both on, the same scenes are fine."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest
from django.core.management import call_command

from orchestration.invariants import violations
from orchestration.models import Goal, Run
from orchestration.selectors.histories import histories
from tests.services.test_crashes import gated, proven, submit
from tests.support.installation import Installation, story, until

pytestmark = pytest.mark.faults
SABOTAGED = "tests.faults.sabotage"


@pytest.fixture
def installation(installation: Installation) -> Iterator[Installation]:
    """Without the audit of what is left: a part of what happens here is meant to break the invariants."""
    yield installation
    for worker in installation.workers:
        worker.kill()
    call_command("flush", interactive=False, verbosity=0)


def late_worker(installation: Installation, sabotage: str) -> Goal:
    """A worker sleeps in the middle of a call for longer than its lease, another one takes over, and then it wakes up."""
    gate = gated(installation, "executor", after=1)
    goal = submit(installation)
    sleeper = installation.worker(module=SABOTAGED, SABOTAGE=sabotage)
    assert gate.reached.wait(30), installation.logs()
    sleeper.process.send_signal(signal.SIGSTOP)
    runs = Run.objects.filter(goal=goal, kind="step", status="running")
    other = installation.worker(module=SABOTAGED, SABOTAGE=sabotage)
    assert until(lambda: runs.filter(fence__gte=3).exists() and not runs.filter(fence=1).exists()), story(goal)
    time.sleep(1)
    sleeper.process.send_signal(signal.SIGCONT)
    gate.open()
    until(lambda: Goal.objects.get(pk=goal.pk).is_terminal, 40)
    assert other.process.poll() is None
    return Goal.objects.get(pk=goal.pk)


def broken_rules(goal: Goal) -> set[str]:
    return {v.invariant for _, history in histories(Goal.objects.filter(pk=goal.pk)) for v in violations(history)}


def test_a_late_worker_is_noticed_where_the_fence_is_off(installation: Installation) -> None:
    assert "fences_increase" in broken_rules(late_worker(installation, "fence"))


def test_a_late_worker_does_no_harm_where_it_is_on(installation: Installation) -> None:
    goal = late_worker(installation, "")
    assert proven(goal), story(goal)
    assert broken_rules(goal) == set()


@pytest.mark.parametrize(("sabotage", "ends"), [("housekeeper", False), ("", True)])
def test_a_lost_run_is_found_again_by_the_housekeeper_alone(
    installation: Installation, sabotage: str, *, ends: bool
) -> None:
    gate = gated(installation, "executor", after=1)
    goal = submit(installation)
    first = installation.worker()
    assert gate.reached.wait(30), installation.logs()
    first.kill()
    gate.open()
    installation.worker(module=SABOTAGED, SABOTAGE=sabotage)
    ended = until(lambda: Goal.objects.get(pk=goal.pk).is_terminal, 30)
    assert ended is ends, story(goal)

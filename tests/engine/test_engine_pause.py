"""Two ways to pause: what runs stops at a safe point, or goes on to its own end; nothing new begins either way."""

from __future__ import annotations

import pytest

from orchestration import services
from orchestration.models import Event, Goal, Run
from orchestration.states import RunStatus
from tests.support.engine import Engine
from tests.support.installation import story, until
from tests.support.models import Gated, writes_a_file


@pytest.fixture
def at_work(engine: Engine) -> tuple[Goal, Gated]:
    """Two parallel steps, one thread: one is in its first model call, the other is queued."""
    gate = Gated("executor", answerer=writes_a_file)
    engine.serve(gate)
    engine.worker.active.slots = 1
    goal = engine.goal("one\ntwo")
    assert until(lambda: engine.worker.claim_idle() >= 0 and gate.reached.is_set(), 20)
    return goal, gate


def steps(goal: Goal) -> list[str]:
    return sorted(Run.objects.filter(goal=goal, kind="step").values_list("status", flat=True))


def test_what_runs_goes_on_to_its_own_end_with_its_calls_and_nothing_new_begins(
    engine: Engine, at_work: tuple[Goal, Gated]
) -> None:
    goal, gate = at_work
    services.pause_goal(goal.pk, by="ada", reason="lunch", finish_running=True)
    engine.worker._heartbeat()
    gate.open()
    assert until(lambda: not engine.worker.active.busy, 20)
    assert steps(goal) == ["queued", "succeeded"], "three calls and a command were made after the pause"
    assert engine.worker.claim_idle() == 0
    assert Goal.objects.get(pk=goal.pk).status == "paused"
    services.resume_goal(goal.pk, by="ada", reason="fed")
    resumed = Event.objects.get(goal=goal, kind="goal.status", old="paused")
    assert (resumed.by, resumed.reason) == ("ada", "fed")
    goal = engine.work(goal)
    assert (goal.status, goal.finishes_running) == ("succeeded", False), story(goal)
    assert set(goal.runs.values_list("losses", "attempt")) == {(0, 1)}


def test_without_it_what_runs_stops_and_is_given_back(engine: Engine, at_work: tuple[Goal, Gated]) -> None:
    goal, gate = at_work
    services.pause_goal(goal.pk, reason="lunch")
    engine.worker._heartbeat()
    assert until(lambda: steps(goal) == ["queued", "queued"], 20)
    gate.open()
    services.resume_goal(goal.pk)
    assert engine.work(goal).status == "succeeded"


def test_a_second_pause_stops_what_the_first_let_go_on(engine: Engine, at_work: tuple[Goal, Gated]) -> None:
    goal, gate = at_work
    services.pause_goal(goal.pk, reason="lunch", finish_running=True)
    engine.worker._heartbeat()
    assert steps(goal) == ["queued", "running"]
    services.pause_goal(goal.pk, reason="it takes too long")
    engine.worker._heartbeat()
    assert until(lambda: steps(goal) == ["queued", "queued"], 20)
    assert Event.objects.filter(goal=goal, kind="goal.pause_stops", reason="it takes too long").exists()
    assert not Goal.objects.get(pk=goal.pk).budget.open
    gate.open()


def test_a_run_that_fails_meanwhile_is_not_tried_again_before_the_goal_goes_on(
    engine: Engine, at_work: tuple[Goal, Gated]
) -> None:
    goal, gate = at_work
    run = Run.objects.get(goal=goal, status=RunStatus.RUNNING)
    services.pause_goal(goal.pk, reason="lunch", finish_running=True)
    services.record_failure(run, RunStatus.ERRORED, "transient", "no room")
    assert steps(goal) == ["errored", "queued"]
    services.resume_goal(goal.pk)
    assert steps(goal) == ["errored", "queued", "queued"]
    gate.open()

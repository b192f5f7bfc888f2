"""P7: a goal is `cancelling` until the end of each thing is confirmed with a time; by force, or by a lease's end, it ends without."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from orchestration import services
from orchestration.cancelling import REQUEST, RESERVED, SANDBOX
from orchestration.errors import IllegalMove
from orchestration.models import Budget, Call, Event, Goal, Run
from orchestration.selectors.cancelling import cancel_proof
from orchestration.states import CallStatus, GoalStatus, Queue, RolloutStatus, RunStatus
from tests.support.engine import Engine
from tests.support.installation import story, until
from tests.support.models import Answer, Gated, Request, role, writes_a_file


class SlowToGo:
    """The provider, whose sandboxes do not go before `may_go` is set; those of `held` only."""

    def __init__(self, provider: Any, held: str) -> None:
        self.dependency = provider.dependency
        self.name, self.layers, self.scratch, self.sweep = (
            provider.name,
            provider.layers,
            provider.scratch,
            provider.sweep,
        )
        self._provider, self._held = provider, held
        self.may_go, self.goes = threading.Event(), threading.Event()

    def open(self, spec: Any) -> Any:
        box = self._provider.open(spec)
        if spec.label.startswith(self._held):
            box.close = self._slow(box.close)
        return box

    def _slow(self, close: Callable[[], None]) -> Callable[[], None]:
        def slowly() -> None:
            self.goes.set()
            self.may_go.wait(30)
            close()

        return slowly


def at_work(engine: Engine, gate: Gated, **more: Any) -> Goal:
    """A goal whose gated role is in a model call."""
    engine.serve(gate)
    goal = engine.goal("one", **more)
    assert until(lambda: engine.worker.claim_idle() >= 0 and gate.reached.is_set(), 20)
    return goal


def status(goal: Goal) -> str:
    return Goal.objects.values_list("status", flat=True).get(pk=goal.pk)


def ends(goal: Goal) -> bool:
    return until(lambda: status(goal) == GoalStatus.CANCELLED, 20)


def unconfirmed(goal: Goal) -> list[str]:
    return [one.what for one in cancel_proof(Goal.objects.get(pk=goal.pk)) if one.confirmed_at is None]


def asked_long_ago(goal: Goal) -> None:
    """All of it: the calls were begun before the cancel, as ever."""
    Call.objects.filter(run__goal=goal).update(started_at=F("started_at") - timedelta(seconds=11))
    Goal.objects.filter(pk=goal.pk).update(cancelled_at=timezone.now() - timedelta(seconds=11))


def test_the_goal_waits_for_the_sandbox_and_then_everything_has_its_time(engine: Engine) -> None:
    slow = SlowToGo(engine.worker.tools.provider, "step")
    engine.use(slow)  # type: ignore[arg-type]
    gate = Gated("executor", answerer=writes_a_file)
    goal = at_work(engine, gate)
    asked = services.cancel_goal(goal.pk, reason="enough")
    assert asked.status == GoalStatus.CANCELLING
    assert unconfirmed(goal) == [REQUEST, SANDBOX, RESERVED]
    engine.worker._heartbeat()
    assert slow.goes.wait(10)
    assert until(lambda: unconfirmed(goal) == [SANDBOX], 10), "the request is shut down, what it had reserved is booked"
    services.advance_goal(goal.pk)
    assert status(goal) == GoalStatus.CANCELLING
    slow.may_go.set()
    assert ends(goal)
    proof = cancel_proof(Goal.objects.get(pk=goal.pk))
    assert [one.what for one in proof] == [REQUEST, SANDBOX, RESERVED]
    assert all(one.confirmed_at and one.confirmed_at >= asked.cancelled_at for one in proof)
    assert (Goal.objects.get(pk=goal.pk).reason) == "enough"
    gate.open()


def test_a_run_that_ended_just_before_is_waited_for_until_its_sandbox_is_gone(engine: Engine) -> None:
    slow = SlowToGo(engine.worker.tools.provider, "step")
    engine.use(slow)  # type: ignore[arg-type]
    engine.serve(writes_a_file)
    engine.worker.active.slots = 1  # the review waits for the thread that is closing
    goal = engine.goal("one")
    assert until(lambda: engine.worker.claim_idle() >= 0 and slow.goes.is_set(), 20)
    assert goal.runs.filter(kind="step", status=RunStatus.SUCCEEDED).exists(), "recorded, and its sandbox still there"
    services.cancel_goal(goal.pk)
    assert not goal.runs.filter(status=RunStatus.RUNNING).exists()
    assert status(goal) == GoalStatus.CANCELLING
    assert unconfirmed(goal) == [SANDBOX]
    slow.may_go.set()
    assert ends(goal)
    assert unconfirmed(goal) == []


class OneIsLate:
    """Of two rollouts one gets its first review only when `open` is set."""

    def __init__(self) -> None:
        self.open, self._asked, self._lock = threading.Event(), 0, threading.Lock()

    def __call__(self, request: Request) -> Answer:
        if role(request) == "reviewer":
            with self._lock:
                self._asked += 1
                late = self._asked == 2
            if late:
                self.open.wait(60)
        return writes_a_file(request)


def raced(engine: Engine, model: OneIsLate) -> Goal:
    """A goal with two rollouts, one of which has won."""
    engine.serve(model)
    goal = engine.goal("one", rollouts=2, checks=["test -f note-0.txt"])
    won = goal.rollouts.filter(status=RolloutStatus.SUCCEEDED)
    assert until(lambda: engine.worker.claim_idle() >= 0 and won.exists(), 60), story(goal)
    assert Goal.objects.get(pk=goal.pk).selected == won.get()
    return goal


def test_a_decided_race_waits_for_the_sandboxes_of_its_losers(engine: Engine) -> None:
    slow, model = SlowToGo(engine.worker.tools.provider, "step"), OneIsLate()
    engine.use(slow)  # type: ignore[arg-type]
    goal = raced(engine, model)
    assert status(goal) == GoalStatus.CANCELLING
    engine.worker._heartbeat()
    assert until(lambda: not goal.runs.filter(status=RunStatus.RUNNING).exists(), 20), story(goal)
    services.advance_goal(goal.pk)
    assert status(goal) == GoalStatus.CANCELLING, "its step was recorded long ago, and its sandbox is still there"
    assert SANDBOX in unconfirmed(goal)
    slow.may_go.set()
    assert until(lambda: status(goal) == GoalStatus.SUCCEEDED, 20), story(goal)
    assert cancel_proof(Goal.objects.get(pk=goal.pk)) == []
    model.open.set()


def test_a_decided_race_does_not_wait_for_a_worker_that_is_dead(engine: Engine) -> None:
    model = OneIsLate()
    goal = raced(engine, model)
    Run.objects.filter(goal=goal).update(lease_until=Now() - timedelta(seconds=1))
    services.sweep()
    assert until(lambda: services.sweep() and status(goal) == GoalStatus.SUCCEEDED, 10), story(goal)
    assert Budget.objects.get(goal=goal).reserved_tokens == 0
    model.open.set()


def test_force_is_refused_before_its_time_and_to_a_goal_that_nobody_cancelled(engine: Engine) -> None:
    gate = Gated("planner", answerer=writes_a_file)
    goal = at_work(engine, gate)
    with pytest.raises(IllegalMove, match="cancel it first"):
        services.cancel_goal(goal.pk, force=True)
    services.cancel_goal(goal.pk)
    with pytest.raises(IllegalMove, match="it can be forced in 10 s"):
        services.cancel_goal(goal.pk, force=True)
    assert status(goal) == GoalStatus.CANCELLING
    engine.worker._heartbeat()
    assert ends(goal)
    gate.open()


def test_force_fences_the_worker_off_and_names_what_nobody_confirmed(engine: Engine) -> None:
    gate = Gated("executor", answerer=writes_a_file)
    goal = at_work(engine, gate)
    services.cancel_goal(goal.pk)
    asked_long_ago(goal)
    assert services.cancel_goal(goal.pk, force=True, reason="it hangs").status == GoalStatus.CANCELLED
    run = goal.runs.get(kind="step")
    assert (run.status, run.fence, run.losses) == (RunStatus.CANCELLED, 2, 0)
    assert not Call.objects.filter(run__goal=goal, status=CallStatus.INTENT).exists()
    assert Budget.objects.get(goal=goal).reserved_tokens == 0
    forced = Event.objects.get(goal=goal, kind="goal.forced")
    assert forced.reason == "it hangs"
    assert any(said.startswith(f"sandbox: step 0 on {run.worker}") for said in forced.data["unconfirmed"])
    assert unconfirmed(goal) == [REQUEST, SANDBOX], "and it stays named"
    events = Event.objects.filter(goal=goal).count()
    spent = Budget.objects.get(goal=goal).spent_tokens
    gate.open()
    assert until(lambda: not engine.worker.active.busy, 20)
    assert Event.objects.filter(goal=goal).count() == events, "the late worker is refused"
    assert Budget.objects.get(goal=goal).spent_tokens == spent
    assert unconfirmed(goal) == [REQUEST, SANDBOX]


def test_the_end_of_a_dead_workers_lease_ends_the_wait(engine: Engine) -> None:
    engine.serve(writes_a_file)
    goal = engine.goal("one")
    run = services.pull(Queue.values, "dead:1:abc")
    assert run is not None
    services.cancel_goal(goal.pk)
    services.sweep()
    assert status(goal) == GoalStatus.CANCELLING
    Run.objects.filter(pk=run.pk).update(lease_until=Now() - timedelta(seconds=1))
    services.sweep()
    assert status(goal) == GoalStatus.CANCELLED
    assert unconfirmed(goal) == [SANDBOX]
    with pytest.raises(IllegalMove, match="nothing left to cancel"):
        services.cancel_goal(goal.pk, force=True)


def test_a_sandbox_that_cannot_be_removed_is_waited_for_as_long_as_its_worker_has_the_lease(engine: Engine) -> None:
    provider = engine.worker.tools.provider

    class Stays(SlowToGo):
        def open(self, spec: Any) -> Any:
            box = provider.open(spec)
            real = box.close

            def fails() -> None:
                real()
                box.gone = False

            box.close = fails
            return box

    engine.use(Stays(provider, ""))  # type: ignore[arg-type]
    gate = Gated("planner", answerer=writes_a_file)
    goal = at_work(engine, gate)
    services.cancel_goal(goal.pk)
    engine.worker._heartbeat()
    assert until(lambda: goal.runs.filter(status=RunStatus.CANCELLED).exists(), 20)
    assert status(goal) == GoalStatus.CANCELLING
    assert unconfirmed(goal) == [SANDBOX]
    Run.objects.filter(goal=goal).update(lease_until=Now() - timedelta(seconds=1))
    services.sweep()
    assert status(goal) == GoalStatus.CANCELLED
    gate.open()


def test_a_queued_goal_is_cancelled_at_once(engine: Engine) -> None:
    goal = engine.goal("one")
    assert services.cancel_goal(goal.pk).status == GoalStatus.CANCELLED
    assert unconfirmed(goal) == []

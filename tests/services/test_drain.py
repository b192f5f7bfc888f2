"""SIGTERM: nothing more is claimed, calls in flight get their time, every run is given back, the process ends in less than 30 s."""

from __future__ import annotations

import fcntl
import os
import time
from collections import Counter

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from orchestration import services
from orchestration.models import Budget, Call, Run, Worker
from orchestration.states import CallKind, CallStatus
from tests.support.installation import EXAMPLE_CHECK, EXAMPLE_GOAL, Installation, until
from tests.support.models import Gated, writes_a_file

pytestmark = pytest.mark.long

GIVEN_BACK = {("queued", 0, 1, "")}


def states() -> set[tuple[object, ...]]:
    return set(Run.objects.values_list("status", "losses", "attempt", "worker"))


def gated(installation: Installation, role: str, after: int = 0, answerer: object = None) -> Gated:
    gate = Gated(role, after=after, **({"answerer": answerer} if answerer else {}))  # type: ignore[arg-type]
    installation.model = installation.serve_model(gate)
    installation.env["LLM_BASE_URL"] = installation.model.url
    return gate


PROMISED = 30.0  # seconds in which a worker that is told to stop has ended


def timed_stop(installation: Installation, number: int = 0) -> float:
    worker, begun = installation.workers[number], time.monotonic()
    assert worker.stop(40) == 0, installation.logs()
    return time.monotonic() - begun


def test_twenty_runs_in_a_call_are_aborted_counted_and_given_back(installation: Installation) -> None:
    gate = gated(installation, "planner", answerer=writes_a_file)
    goals = [services.submit_goal(f"note {n}") for n in range(20)]
    installation.worker(WORKER_THREADS="20", LEASE_SECONDS="30")  # a lease that a busy machine keeps
    asked = Call.objects.filter(kind=CallKind.LLM, status=CallStatus.INTENT)
    assert until(lambda: asked.count() == 20, 90), installation.logs()
    late = services.submit_goal("too late")
    took = timed_stop(installation)
    assert 15 <= took < PROMISED, "calls in flight get their 15 seconds, and no more"
    assert states() == GIVEN_BACK
    assert late.runs.get().fence == 0, "what waited was not claimed when threads became free"
    begun = Call.objects.filter(run__goal__in=goals)
    assert set(begun.values_list("status", flat=True)) == {CallStatus.UNKNOWN}
    budgets = list(Budget.objects.filter(goal__in=goals))
    assert {budget.reserved_tokens for budget in budgets} == {0}
    assert sum(budget.calls for budget in budgets) == begun.count() == 20
    assert all(budget.spent_tokens > 0 for budget in budgets), "an unknown call counts as spent"
    assert not Worker.objects.exists(), "it took its leave"
    gate.open()
    installation.worker(WORKER_THREADS="24", LEASE_SECONDS="30")
    for goal in [*goals, late]:
        assert installation.ended(goal, 120).status == "succeeded"
    assert set(Run.objects.values_list("losses", "attempt")) == {(0, 1)}


def test_an_answer_that_comes_in_time_is_recorded_and_not_bought_again(installation: Installation) -> None:
    gate = gated(installation, "executor", after=1)
    goal = services.submit_goal(EXAMPLE_GOAL, repo=installation.example(), checks=[EXAMPLE_CHECK], allow_repo=True)
    first = installation.worker()
    assert gate.reached.wait(30), installation.logs()
    assert until(lambda: Call.objects.filter(status=CallStatus.INTENT).count() == 2)
    first.process.terminate()
    time.sleep(1)
    gate.open()
    assert timed_stop(installation) < 15, "nobody waits for what has ended"
    steps = goal.runs.filter(kind="step")
    assert set(steps.values_list("status", "losses", "attempt")) == {("queued", 0, 1)}
    assert not Call.objects.filter(status=CallStatus.UNKNOWN).exists()
    installation.worker()
    assert installation.ended(goal).verified
    asked = Counter(entry["prompt"] for entry in installation.model.calls)
    assert set(asked.values()) == {1}


def test_a_worker_without_redis_drains_too(installation: Installation) -> None:
    gate = gated(installation, "planner")
    services.submit_goal("a note")
    installation.worker(DRAIN_SECONDS="2")
    assert gate.reached.wait(30), installation.logs()
    installation.redis.stop()
    assert timed_stop(installation) < PROMISED
    assert states() == GIVEN_BACK


def test_a_thread_that_waits_for_a_lock_of_the_kernel_holds_nobody(installation: Installation) -> None:
    """The lock of an environment that somebody else is building: no closer reaches a thread there."""
    goal = services.submit_goal("a note", repo=installation.example(), setup="sleep 60", allow_repo=True)
    first = installation.worker()
    folders = (installation.folder, *installation.folder.iterdir())
    found = lambda: [lock for folder in folders for lock in folder.rglob("environments/*.lock")]  # noqa: E731
    assert until(lambda: bool(found())), installation.logs()
    first.kill()
    fd = os.open(found()[0], os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        second = installation.worker(DRAIN_SECONDS="2", LEASE_SECONDS="30")  # a lease that a busy machine keeps
        assert until(lambda: goal.runs.filter(status="running", losses=1).exists()), installation.logs()
        time.sleep(1.5)
        assert second.process.poll() is None
        assert timed_stop(installation, 1) < PROMISED
        assert set(goal.runs.values_list("status", "losses", "attempt")) == {("queued", 1, 1)}, "the kill's loss only"
    finally:
        os.close(fd)


def test_a_set_up_that_runs_is_ended_with_the_drain(installation: Installation) -> None:
    goal = services.submit_goal("a note", repo=installation.example(), setup="touch begun; sleep 60", allow_repo=True)
    installation.worker(DRAIN_SECONDS="1")
    assert until(lambda: bool(list((installation.folder / "workspaces").rglob("begun")))), installation.logs()
    assert timed_stop(installation) < PROMISED
    assert "its shutdown hangs" not in installation.workers[0].log.read_text()
    assert set(goal.runs.values_list("status", "losses", "attempt")) == {("queued", 0, 1)}


def test_a_worker_leaves_a_database_that_newer_code_has_migrated(installation: Installation) -> None:
    """It is running: that it would be refused at its start helps nobody."""
    gated(installation, "planner", answerer=writes_a_file)
    services.submit_goal("one")
    worker = installation.worker(HOUSEKEEPER_SECONDS="1", DRAIN_SECONDS="1")
    assert until(Call.objects.filter(status=CallStatus.INTENT).exists, 60), installation.logs()
    MigrationRecorder(connection).record_applied("orchestration", "9999_of_the_future")
    try:
        assert until(lambda: worker.process.poll() == 0, PROMISED), installation.logs()
    finally:
        MigrationRecorder(connection).record_unapplied("orchestration", "9999_of_the_future")
    assert states() == GIVEN_BACK
    assert "leaves: the database was migrated by newer code (to 9999_of_the_future)" in worker.log.read_text()

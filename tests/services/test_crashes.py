"""What the promises P1-P7 and P9 say about workers that die, messages that come twice, a Redis that is away, and cancellation."""

from __future__ import annotations

import signal
import time
from collections import Counter

import pytest
import redis
from django.db.models.functions import Now

from orchestration import dispatch, services
from orchestration.models import Budget, Call, Goal, Run
from orchestration.states import CallKind, CallStatus, RunStatus
from tests.support.installation import EXAMPLE_CHECK, EXAMPLE_GOAL, Installation, until
from tests.support.models import Gated

ROLES = [("planner", 0), ("planner", 1), ("executor", 0), ("executor", 2), ("reviewer", 0)]


def submit(installation: Installation, **more: object) -> Goal:
    repo = installation.example()
    return services.submit_goal(EXAMPLE_GOAL, repo=repo, checks=[EXAMPLE_CHECK], allow_repo=True, **more)  # type: ignore[arg-type]


def gated(installation: Installation, role: str, after: int = 0) -> Gated:
    """The installation's model, which holds one role back."""
    gate = Gated(role, after=after)
    installation.model = installation.serve_model(gate)
    installation.env["LLM_BASE_URL"] = installation.model.url
    return gate


def proven(goal: Goal) -> bool:
    return goal.status == "succeeded" and goal.verified


class TestKill9:
    @pytest.mark.parametrize(("role", "after"), ROLES)
    def test_a_killed_worker_costs_a_loss_and_no_attempt(
        self, installation: Installation, role: str, after: int
    ) -> None:
        gate = gated(installation, role, after)
        goal = submit(installation)
        first = installation.worker()
        assert gate.reached.wait(30), installation.logs()
        first.kill()
        gate.open()
        installation.worker()
        assert proven(installation.ended(goal))
        runs = list(goal.runs.all())
        assert {run.attempt for run in runs} == {1}
        assert {run.losses for run in runs} <= {0, 1}
        assert sum(run.losses for run in runs) >= 1

    def test_a_recorded_answer_is_not_bought_twice_and_a_recorded_command_not_run_twice(
        self, installation: Installation
    ) -> None:
        gate = gated(installation, "executor", after=3)
        goal = submit(installation)
        first = installation.worker()
        assert gate.reached.wait(30), installation.logs()
        first.kill()
        gate.open()
        installation.worker()
        assert proven(installation.ended(goal))
        asked = Counter(entry["prompt"] for entry in installation.model.calls)
        lost = sum(run.losses for run in goal.runs.all())
        assert sum(n - 1 for n in asked.values()) <= lost, "at most the one call in flight of each lost run is repeated"
        done = Call.objects.filter(run__goal=goal, status=CallStatus.DONE)
        commands = [(c.run_id, c.turn, c.index) for c in done.filter(kind=CallKind.COMMAND)]
        assert len(commands) == len(set(commands))
        budget = Budget.objects.get(goal=goal)
        assert budget.reserved_tokens == 0, "nothing stays reserved"
        calls = Call.objects.filter(run__goal=goal, kind=CallKind.LLM)
        assert budget.calls == calls.count(), "each call that was begun is counted, the repeated one too"
        begun_only = calls.filter(status=CallStatus.UNKNOWN).count()  # the kill may come before the request has left
        assert budget.calls - begun_only <= len(installation.model.calls) <= budget.calls

    def test_all_workers_and_redis_die_and_the_goal_still_ends(self, installation: Installation) -> None:
        gate = gated(installation, "executor", after=1)
        goal = submit(installation)
        workers = [installation.worker(), installation.worker()]
        assert gate.reached.wait(30), installation.logs()
        for worker in workers:
            worker.kill()
        installation.redis.kill()
        installation.redis.start()
        redis.Redis.from_url(installation.redis.url).flushall()
        gate.open()
        installation.worker()
        assert proven(installation.ended(goal))


def test_a_worker_that_sleeps_longer_than_its_lease_does_its_work_once(installation: Installation) -> None:
    """A laptop that was closed. On waking, its heartbeat may be first (the run goes on), or its housekeeper: then the worker loses
    the run to itself, and the old thread's answer is not accepted. Either way the work is done once.
    """
    gate = gated(installation, "executor", after=1)
    goal = submit(installation)
    worker = installation.worker()
    assert gate.reached.wait(30), installation.logs()
    worker.process.send_signal(signal.SIGSTOP)
    time.sleep(4)
    worker.process.send_signal(signal.SIGCONT)
    assert until(lambda: goal.runs.filter(lease_until__gt=Now(), status=RunStatus.RUNNING).exists()), (
        installation.logs()
    )
    gate.open()
    assert proven(installation.ended(goal, 60))
    assert {run.attempt for run in goal.runs.all()} == {1}
    assert {run.losses for run in goal.runs.all()} <= {0, 1}
    assert Budget.objects.get(goal=goal).reserved_tokens == 0


@pytest.mark.long
def test_a_drained_worker_costs_nothing(installation: Installation) -> None:
    gate = gated(installation, "executor", after=1)
    goal = submit(installation)
    first = installation.worker()
    assert gate.reached.wait(30), installation.logs()
    assert first.stop() == 0
    assert set(Run.objects.filter(goal=goal, kind="step").values_list("status", "losses", "attempt")) == {
        ("queued", 0, 1)
    }
    gate.open()
    installation.worker()
    assert proven(installation.ended(goal))
    assert set(goal.runs.values_list("losses", "attempt")) == {(0, 1)}


@pytest.mark.parametrize(("role", "after"), ROLES)
def test_a_cancelled_goal_ends_at_once_and_buys_nothing_more(installation: Installation, role: str, after: int) -> None:
    gate = gated(installation, role, after)
    goal = submit(installation)
    installation.worker()
    assert gate.reached.wait(30), installation.logs()
    installation.manage("goal", "cancel", str(goal.pk), "--reason", "not needed any more")
    bought = len(installation.model.calls)
    assert installation.ended(goal, 15).status == "cancelled"
    gate.open()
    assert not list((installation.folder / "workspaces").glob("box-*/workspace")), "its sandboxes are gone"
    assert len(installation.model.calls) == bought
    assert not goal.runs.filter(status__in=("queued", "running")).exists()
    assert Budget.objects.get(goal=goal).reserved_tokens == 0


def test_a_queued_goal_is_cancelled_without_any_worker(installation: Installation) -> None:
    goal = submit(installation)
    installation.manage("goal", "cancel", "last")
    goal.refresh_from_db()
    assert goal.status == "cancelled"


def test_the_same_message_many_times_is_one_run(installation: Installation) -> None:
    gate = gated(installation, "planner")
    goal = submit(installation)
    installation.worker()
    run = goal.runs.get()
    code = f"""
from orchestration.tasks import plan_task
for _ in range(5):
    plan_task.apply_async(kwargs={{"run_id": {str(run.pk)!r}}}, queue="planning", ignore_result=True)
"""
    installation.manage("shell", "-c", code)
    assert gate.reached.wait(30), installation.logs()
    gate.open()
    assert proven(installation.ended(goal))
    assert goal.runs.filter(kind="plan").count() == 1
    asked = Counter(entry["prompt"] for entry in installation.model.calls)
    assert set(asked.values()) == {1}


class TestRedisAway:
    def test_a_goal_goes_on_while_redis_is_stopped_and_started(self, installation: Installation) -> None:
        gate = gated(installation, "executor")
        goal = submit(installation)
        installation.worker()
        assert gate.reached.wait(30), installation.logs()
        installation.redis.stop()
        gate.open()
        assert until(lambda: goal.runs.filter(kind="step", status=RunStatus.SUCCEEDED).count() == 2), (
            installation.logs()
        )
        installation.redis.start()
        assert proven(installation.ended(goal))

    def test_a_goal_submitted_meanwhile_is_answered_and_finished(self, installation: Installation) -> None:
        worker = installation.worker()
        installation.redis.stop()
        repo = installation.example()
        said = installation.manage("goal", "submit", EXAMPLE_GOAL, "--repo", str(repo), "--check", EXAMPLE_CHECK)
        assert said.stdout.strip()
        goal = Goal.objects.get()
        installation.redis.start()
        assert proven(installation.ended(goal, 30))
        assert worker.process.poll() is None

    @pytest.mark.long
    def test_a_worker_started_without_redis_works_from_the_database(self, installation: Installation) -> None:
        installation.redis.stop()
        goal = submit(installation)
        installation.worker()
        assert proven(installation.ended(goal))

    def test_what_redis_forgets_is_found_in_the_database(
        self, installation: Installation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        goal = submit(installation)
        monkeypatch.setattr(dispatch, "_publisher", dispatch.publish_nothing)
        redis.Redis.from_url(installation.redis.url).flushall()
        installation.worker()
        assert proven(installation.ended(goal))


def test_a_goal_with_retries_ends_without_beat(installation: Installation) -> None:
    installation.model.faults.nth = 9
    goal = submit(installation)
    installation.worker()
    assert proven(installation.ended(goal, 90))
    assert goal.events.filter(data__doubtful=True).exists(), "it was asked again"

"""Claims, leases and heartbeats without any work being done: what a process says of its runs, and what it may take."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.db.models.functions import Now

from agents.errors import Fenced
from orchestration import dispatch, services
from orchestration.active import ActiveRuns
from orchestration.models import Goal, Run
from orchestration.runtime import Worker
from orchestration.services.heartbeats import beat
from orchestration.states import Queue, RunStatus

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def claimed() -> Run:
    run = services.claim(submitted().runs.get().pk, "ada")
    assert run is not None
    return run


def submitted() -> Goal:
    return services.submit_goal("one")


def expire(run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(lease_until=Now() - timedelta(seconds=1))


class TestHeartbeat:
    def test_it_keeps_the_runs_that_are_worked_on(self, claimed: Run) -> None:
        expire(claimed)
        assert beat("ada", {str(claimed.pk)}) == {(str(claimed.pk), 1): ""}
        assert services.sweep()["leases"] == 0

    def test_a_run_whose_thread_is_gone_is_lost_although_its_process_lives(self, claimed: Run) -> None:
        expire(claimed)
        assert beat("ada", set()) == {}
        assert services.sweep()["leases"] == 1
        claimed.refresh_from_db()
        assert (claimed.status, claimed.losses, claimed.attempt) == (RunStatus.QUEUED, 1, 1)

    def test_a_lost_run_that_comes_back_to_the_same_process_is_watched_as_well(self, claimed: Run) -> None:
        runs = ActiveRuns(4)
        with runs.working(claimed, 20):
            expire(claimed)
            services.sweep()
            again = services.claim(claimed.pk, "ada")
            assert again is not None
            with runs.working(again, 20):
                assert {active.run.fence for active in runs.all()} == {claimed.fence, again.fence}
            assert [active.run.fence for active in runs.all()] == [claimed.fence]
        assert runs.all() == []


class TestRunsThatLostWorkers:
    """A run that lost two workers may be what kills them: a process takes one of those at first, whichever way it comes."""

    def test_a_process_takes_one_at_first_and_one_more_for_each_that_it_outlived(self, claimed: Run) -> None:
        """After a night of lost machines every run has lost two workers: one at a time would take days."""
        runs = ActiveRuns(4)
        first, second, third = (Run(goal=claimed.goal, kind="step", losses=losses) for losses in (2, 5, 2))
        assert not runs.risky
        with runs.working(claimed, 20):
            assert not runs.risky, "one that lost nobody says nothing"
        with runs.working(first, 20):
            assert runs.risky
        assert not runs.risky
        with runs.working(second, 20):
            assert not runs.risky, "it has outlived one"
            with runs.working(third, 20):
                assert runs.risky
        with runs.working(first, 20), runs.working(second, 20), runs.working(third, 20):
            assert not runs.risky, "it has outlived three"

    def test_not_by_message(self) -> None:
        run = submitted().runs.get()
        Run.objects.filter(pk=run.pk).update(losses=2)
        assert services.claim(run.pk, "ada", risky=False) is None
        assert services.claim(run.pk, "ada") is not None

    def test_not_as_the_next_of_the_same_goal(self) -> None:
        goal = services.submit_goal("one", rollouts=2)
        first, second = goal.runs.all()
        Run.objects.filter(pk=second.pk).update(losses=2)
        run = services.claim(first.pk, "ada")
        assert run is not None
        assert services.record_failure(run, RunStatus.ERRORED, "permanent", "no key", successor="ada") is None
        second.refresh_from_db()
        assert second.status == RunStatus.QUEUED


def test_a_report_with_an_old_fence_is_refused(claimed: Run) -> None:
    expire(claimed)
    services.sweep()
    with pytest.raises(Fenced):
        services.record_failure(claimed, RunStatus.FAILED, "work", "too late")
    assert not Run.objects.filter(status=RunStatus.FAILED).exists()


def test_a_database_that_is_away_for_a_while_costs_no_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise OperationalError("the database is away")

    worker = Worker(Queue.values, 2)
    with monkeypatch.context() as patched:
        patched.setattr(services, "pull", away)
        for _ in range(3):
            with pytest.raises(OperationalError):
                worker.claim_idle()
    assert worker.active.reserve()
    assert worker.active.reserve()


def test_a_redis_that_is_away_is_waited_for_once_and_not_at_every_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_quiet_until", 0.0)
    dispatch.publish_now([("0", "plan")])  # nobody answers at the tests' address
    begun = time.monotonic()
    for _ in range(20):
        dispatch.publish_now([("0", "plan")])
    assert time.monotonic() - begun < 1

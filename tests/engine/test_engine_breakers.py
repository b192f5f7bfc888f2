"""A model or a sandbox service that is away: what needs it waits without an attempt, one run tries, and all goes on after it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from agents.errors import SandboxBusy
from agents.llm.demo_server import DemoServer, Faults
from agents.ports import Sandbox, SandboxSpec
from orchestration import services
from orchestration.errors import NotFound
from orchestration.models import Breaker, Goal, Run
from orchestration.services import breaking
from orchestration.states import OPEN_GOAL, GoalStatus
from tests.support.engine import Engine
from tests.support.installation import story, until
from tests.support.models import writes_a_file

DOWN = Faults(nth=1, status=503, body='{"error": {"message": "out of order"}}')


@pytest.fixture(autouse=True)
def rules(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.BREAKER = {"failures": 2, "first": 0.2, "longest": 0.8}
    monkeypatch.setattr(breaking, "_suspect", set())


@pytest.fixture
def model(engine: Engine) -> DemoServer:
    return engine.serve(writes_a_file, faults=DOWN)


def recovers(model: DemoServer) -> None:
    model.faults = Faults()


def breaker() -> Breaker:
    return Breaker.objects.get()


def work_until(engine: Engine, fact: Callable[[], bool], seconds: float = 30) -> bool:
    """As a housekeeper does it; delays of retries are waited for."""

    def turn() -> bool:
        engine.worker.claim_idle()
        return fact()

    return until(turn, seconds)


def is_open() -> bool:
    return Breaker.objects.filter(status="open").exists()


def idle(engine: Engine) -> bool:
    return not engine.worker.active.all()


class TestOutage:
    def test_goals_wait_none_fails_and_all_succeed_after_it(self, engine: Engine, model: DemoServer) -> None:
        goals = [engine.goal(f"goal {n}") for n in range(6)]
        assert work_until(engine, is_open)
        assert work_until(engine, lambda: breaker().probes >= 2), "it is tried, and fails"
        assert not Run.objects.filter(status="errored").exists(), "no attempt is spent, not even before it opened"
        assert not Goal.objects.filter(status=GoalStatus.FAILED).exists()
        recovers(model)
        assert work_until(engine, lambda: not Goal.objects.exclude(status="succeeded").exists(), 60), "\n".join(
            story(goal) for goal in goals
        )
        assert not Run.objects.exclude(attempt=1).exists()
        assert breaker().status == "closed"
        assert (breaker().failures, breaker().probe_at, breaker().opened_at) == (0, None, None)

    def test_where_one_failure_opens_it_no_attempt_is_spent(
        self, engine: Engine, model: DemoServer, settings: Any
    ) -> None:
        settings.BREAKER |= {"failures": 1}
        goal = engine.goal()
        assert work_until(engine, lambda: Breaker.objects.filter(probes__gte=2).exists())
        recovers(model)
        assert work_until(engine, lambda: Goal.objects.filter(status="succeeded").exists()), story(goal)
        assert {(run.attempt, run.losses) for run in Run.objects.all()} == {(1, 0)}
        told = goal.events.filter(kind="run.status", new="queued").first()
        assert told is not None
        assert "waiting for model test-model at" in told.reason
        assert "out of order" in told.reason

    def test_while_it_is_open_nothing_is_claimed_and_the_model_is_asked_by_one_at_a_time(
        self, engine: Engine, model: DemoServer, settings: Any
    ) -> None:
        settings.BREAKER |= {"first": 60, "longest": 60}
        for n in range(4):
            engine.goal(f"goal {n}")
        assert work_until(engine, lambda: is_open() and idle(engine))
        asked = len(model.calls)
        Run.objects.update(not_before=Now())
        for run in Run.objects.filter(status="queued"):
            engine.worker.work(str(run.pk))
        assert not work_until(engine, lambda: len(model.calls) > asked, 0.7)
        Breaker.objects.update(probe_at=Now())
        model.faults = Faults(delay=0.5, nth=1, status=503)
        assert work_until(engine, lambda: breaker().status == "half_open")
        assert not work_until(engine, lambda: len(engine.worker.active.all()) > 1, 0.3)
        assert work_until(engine, lambda: breaker().probes == 1)

    def test_a_probe_that_ends_without_a_word_makes_room_for_the_next(self, engine: Engine, model: DemoServer) -> None:
        engine.goal()
        assert work_until(engine, lambda: is_open() and idle(engine))
        Run.objects.filter(status="queued").update(not_before=Now())
        Breaker.objects.update(probe_at=Now())
        needs = engine.worker.needs
        run = services.probe(engine.worker.queues, "one", needs)
        assert run is not None
        assert breaker().status == "half_open"
        assert services.probe(engine.worker.queues, "two", needs) is None
        services.stand_down(run, "its worker drains")
        again = services.probe(engine.worker.queues, "two", needs)
        assert again is not None
        assert (again.pk, again.fence) == (run.pk, run.fence + 1)

    def test_another_goal_tries_next(self, engine: Engine, model: DemoServer) -> None:
        """One goal's poisonous request must not hold the others for ever."""
        goals = {engine.goal(f"goal {n}").pk for n in range(2)}
        assert work_until(engine, lambda: is_open() and idle(engine))
        tried = set()
        for _ in range(2):
            Run.objects.filter(status="queued").update(not_before=Now())
            Breaker.objects.update(probe_at=Now())
            run = services.probe(engine.worker.queues, "one", engine.worker.needs)
            assert run is not None
            tried.add(run.goal_id)
            services.report_outage(breaker().pk, "still away")
            services.stand_down(run, "still away", delay=0.01)
            time.sleep(0.05)
        assert tried == goals

    def test_a_worker_of_another_model_goes_on(self, engine: Engine, model: DemoServer) -> None:
        engine.goal()
        assert work_until(engine, lambda: is_open() and idle(engine))
        Run.objects.filter(status="queued").update(not_before=Now())
        assert services.pull(engine.worker.queues, "one", needs=engine.worker.needs) is None
        assert services.pull(engine.worker.queues, "two", needs=("model other at http://elsewhere/v1",)) is not None


class TestWhatDoesNotOpenIt:
    def test_what_is_permanent_fails_as_ever(self, engine: Engine, model: DemoServer) -> None:
        model.faults = Faults(nth=1, status=401)
        goal = engine.work(engine.goal())
        assert goal.status == "failed"
        assert not Breaker.objects.exists()

    def test_an_answer_that_cannot_be_read_is_retried_as_ever(self, engine: Engine, model: DemoServer) -> None:
        model.faults = Faults(nth=1, status=200, body="<html>", headers={"content-type": "text/html"})
        goal = engine.work(engine.goal())
        assert goal.status == "failed"
        assert Run.objects.filter(status="errored").count() == 4, "retry decides: broke four times"
        assert not Breaker.objects.exists()

    def test_an_answer_in_between_ends_the_row(self, engine: Engine, model: DemoServer) -> None:
        model.faults = Faults(nth=4, status=500)  # the last call of the step, once more, and that of the review
        goal = engine.work(engine.goal("one"))
        assert goal.status == "succeeded", story(goal)
        assert breaker().status == "closed"
        assert breaker().opened_at is None
        assert not Run.objects.filter(status="errored").exists()


class TestARequestThatAlwaysFails:
    """Its server answers everybody else: the goal ends, and holds nobody for ever."""

    @pytest.mark.parametrize("failures", [1, 2])
    def test_its_goal_ends_while_others_succeed(
        self, engine: Engine, model: DemoServer, settings: Any, failures: int
    ) -> None:
        settings.BREAKER |= {"failures": failures}
        book = model.book
        model.book = lambda request: book(request) and "poison" in str(request["messages"])  # type: ignore[method-assign]
        poisoned = engine.goal("poison")

        def ended() -> bool:
            if not Goal.objects.exclude(pk=poisoned.pk).exclude(status="succeeded").exists():
                engine.goal("another one")
            with suppress(OperationalError):  # SQLite, while the worker writes: the next turn does it
                Run.objects.filter(status="queued").update(not_before=Now())
                Breaker.objects.update(probe_at=Now())
            return Goal.objects.get(pk=poisoned.pk).is_terminal

        assert work_until(engine, ended, 60), story(poisoned)
        assert Goal.objects.get(pk=poisoned.pk).status == "failed"
        assert Run.objects.filter(goal=poisoned, status="errored").count() == 4, "retry decides: broke four times"
        back = poisoned.events.filter(kind="run.status", new="queued", data__doubtful=True)
        assert back.count() == 4 * failures
        assert work_until(engine, lambda: not Goal.objects.filter(status__in=OPEN_GOAL).exists(), 60)
        assert not Goal.objects.exclude(pk=poisoned.pk).exclude(status="succeeded").exists()

    def test_an_answer_of_its_own_ends_the_doubt(self, engine: Engine, model: DemoServer, settings: Any) -> None:
        settings.BREAKER |= {"failures": 1}
        model.faults = Faults(nth=2, status=500)  # every call of the step fails once
        goal = engine.goal("one")
        assert work_until(engine, lambda: Goal.objects.filter(status="succeeded").exists()), story(goal)
        assert goal.events.filter(data__doubtful=True).count() >= 3
        assert not Run.objects.exclude(attempt=1).exists()


def test_while_all_is_well_it_costs_no_statement(engine: Engine, model: DemoServer) -> None:
    recovers(model)
    with CaptureQueriesContext(connection) as asked:
        services.heard_from("model x at y")
    assert len(asked) == 0
    counts = []
    for needs in ((), engine.worker.needs):
        engine.goal()
        with CaptureQueriesContext(connection) as asked:
            assert services.pull(engine.worker.queues, "one", needs=needs) is not None
        counts.append(len(asked))
    assert counts[0] == counts[1], "the claim looks at the breakers in its own statement"
    assert engine.worker.needs == (f"model test-model at {model.url}",)


def test_a_person_closes_one_by_hand(engine: Engine, model: DemoServer, settings: Any) -> None:
    settings.BREAKER |= {"first": 600, "longest": 600}
    engine.goal()
    assert work_until(engine, lambda: is_open() and idle(engine))
    recovers(model)
    with pytest.raises(NotFound, match=r"manage\.py breakers"):
        services.close_breaker("model of tomorrow")
    closed = services.close_breaker(breaker().pk)
    assert closed.status == "closed"
    assert work_until(engine, lambda: Goal.objects.filter(status="succeeded").exists())


class Away:
    """A provider whose services are all away."""

    name, dependency, layers = "locale2b", "sandbox service 10.0.0.5:8080", ()

    def __init__(self, provider: Any) -> None:
        self.provider, self.scratch, self.is_away, self.opened = provider, provider.scratch, True, 0

    def open(self, spec: SandboxSpec) -> Sandbox:
        self.opened += 1
        if self.is_away:
            raise SandboxBusy("nobody answers", retry_after=0.1, outage_of=self.dependency)
        return self.provider.open(spec)  # type: ignore[no-any-return]

    def sweep(self) -> int:
        return 0


def test_a_sandbox_service_that_is_away_is_waited_for_likewise(engine: Engine, model: DemoServer) -> None:
    recovers(model)
    away = Away(engine.worker.tools.provider)
    engine.use(away)  # type: ignore[arg-type]
    engine.goal()
    assert work_until(engine, lambda: Breaker.objects.filter(pk=away.dependency, probes__gte=1).exists())
    assert Run.objects.get().attempt == 1
    away.is_away = False
    assert work_until(engine, lambda: Goal.objects.filter(status="succeeded").exists())
    assert breaker().status == "closed"

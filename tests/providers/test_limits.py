"""What a provider allows is never passed, by all workers together, and who waits for it says so, can be stopped, and costs nothing."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from django.test import override_settings
from django.utils import timezone

from agents.chain import Pace
from agents.llm.demo_server import Faults
from orchestration import limiter as limits
from orchestration import pacing, services
from orchestration.limiter import Limiter, Window
from orchestration.models import Call, Event, Goal, Run
from orchestration.models import Worker as WorkerRow
from orchestration.redis_server import RedisServer
from orchestration.states import Queue, RunStatus
from orchestration.story import why_of
from tests.support.engine import Engine
from tests.support.installation import story, until
from tests.support.models import Gated, writes_a_file

FREE = Pace("k", "free")


# ---- PURE


def taken(window: Window, pace: Pace, *calls: tuple[float, int]) -> list[float]:
    """What each of these (second, tokens) is told; all of them stay in flight."""
    return [round(window.take(now, pace, f"{n}", size), 3) for n, (now, size) in enumerate(calls)]


@pytest.mark.parametrize(
    ("pace", "calls", "told"),
    [
        (FREE, [(0, 9), (0, 9), (0, 9)], [0, 0, 0]),
        (Pace("k", "p", requests=2), [(0, 1), (10, 1), (20, 1), (59.9, 1), (60, 1)], [0, 0, 40, 0.1, 0]),
        (Pace("k", "p", requests=2), [(0, 1), (1, 1), (61, 1), (61, 1), (61, 1)], [0, 0, 0, 0, 60]),
        (Pace("k", "p", tokens=100), [(0, 60), (1, 41), (1, 40), (2, 1)], [0, 59, 0, 58]),
        (Pace("k", "p", tokens=100), [(0, 10), (5, 90), (6, 60)], [0, 0, 59]),
        (Pace("k", "p", tokens=100), [(0, 500), (1, 500), (60, 500)], [0, 59, 0]),
        (Pace("k", "p", parallel=1), [(0, 1), (0, 1), (99, 1)], [0, 0.5, 0.5]),
        (Pace("k", "p", requests=1, parallel=1), [(0, 1), (0, 1)], [0, 0.5]),
    ],
)
def test_a_window_by_its_numbers(pace: Pace, calls: list[tuple[float, int]], told: list[float]) -> None:
    assert taken(Window(), pace, *calls) == told


def test_what_was_used_counts_instead_of_the_estimate_and_an_end_makes_room() -> None:
    window, pace = Window(), Pace("k", "p", tokens=100, parallel=1)
    assert window.take(0, pace, "a", 90) == 0
    assert window.take(1, pace, "b", 50) == 0.5
    window.done("a", 20)
    assert window.take(1, pace, "b", 50) == 0
    window.done("b", None)
    assert window.take(2, pace, "c", 40) == 58, "nobody knows what it used: the estimate counts"


def test_limits_as_they_are_said() -> None:
    assert (
        str(Pace("k", "venice", 60, None, 2)) == "the limits of provider venice (60 requests a minute, 2 calls at once)"
    )


# ---- several processes


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


def fleet(count: int, span: float) -> list[Limiter]:
    """As many processes, each with a limiter of its own."""
    return [Limiter(span) for _ in range(count)]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("pace", [Pace("r", "p", requests=5), Pace("t", "p", tokens=50), Pace("a", "p", parallel=2)])
def test_three_processes_together_never_pass_it(redis: RedisServer, pace: Pace) -> None:
    span, granted, flying, most = 0.6, [], [0], [0]
    lock = threading.Lock()

    def work(mine: Limiter, name: str) -> None:
        for n in range(6):
            while wait := mine.take(pace, f"{name}-{n}", 10):
                time.sleep(min(wait, 0.05))
            with lock:
                granted.append(time.monotonic())
                flying[0] += 1
                most[0] = max(most[0], flying[0])
            time.sleep(0.01)
            with lock:
                flying[0] -= 1
            mine.done(pace, f"{name}-{n}", 10)

    with override_settings(REDIS_URL=redis.url):
        threads = [
            threading.Thread(target=work, args=(mine, f"{m}.{t}"))
            for m, mine in enumerate(fleet(3, span))
            for t in "ab"
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(granted) == 36
    if pace.parallel:
        assert most[0] <= 2
        return
    # an answer may be heard a little after it was given, so the windows that are looked at are shorter
    assert all(later - earlier > span / 2 for earlier, later in zip(granted, granted[5:], strict=False))


@pytest.mark.django_db(transaction=True)
def test_a_rest_is_kept_by_all_and_a_dead_process_lets_its_places_go(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LEASE", 0.4)
    one, other = fleet(2, 60)
    pace = Pace("dead", "p", parallel=1)
    with override_settings(REDIS_URL=redis.url):
        assert one.take(pace, "a", 1) == 0
        one._flying.clear()  # it is gone, and renews nothing
        assert other.take(pace, "b", 1) == limits.LOOK_AGAIN
        assert until(lambda: other.take(pace, "b", 1) == 0, 10)
        other.done(pace, "b", None)
        one.rest(pace, 30)
        assert 29 < other.take(pace, "c", 1) <= 30


@pytest.mark.django_db(transaction=True)
def test_without_redis_and_with_rubbish_in_it_each_process_keeps_to_it_alone(redis: RedisServer) -> None:
    pace = Pace("rubbish", "p", requests=1)
    with override_settings(REDIS_URL=redis.url):
        client = Limiter()._connected()
        client.set(limits._keys(pace)[0], "no set")
        [mine] = fleet(1, 60)
        assert mine.take(pace, "a", 1) == 0
        assert mine.take(pace, "b", 1) > 50
        mine.done(pace, "a", None)
    with override_settings(REDIS_URL="redis://127.0.0.1:1/0"):
        [mine] = fleet(1, 60)
        assert mine.take(pace, "a", 1) == 0
        assert mine.take(pace, "b", 1) > 50


# ---- at work


@pytest.fixture
def engine(
    tmp_path: Path, transactional_db: None, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Engine]:
    monkeypatch.setattr(pacing, "limiter", Limiter(2.0))
    with ExitStack() as stack, override_settings(REDIS_URL=redis.url):
        made = Engine(tmp_path, stack)
        stack.callback(made.close)
        yield made


@pytest.mark.long
def test_a_goal_works_within_the_limits_of_its_provider(engine: Engine) -> None:
    server = engine.serve(writes_a_file, Faults(delay=0.1))
    services.add_provider("slow", team=None, base_url=server.url, requests_per_minute=4, parallel_calls=1, by="x")
    goal = engine.work(engine.goal("one\ntwo\nthree", role_models=["slow/m"]), seconds=60)
    assert goal.status == "succeeded", story(goal)
    calls = list(Call.objects.filter(run__goal=goal, kind="llm").order_by("started_at"))
    assert len(calls) == 11
    for before, after in itertools.pairwise(calls):
        assert before.ended_at is not None
        assert after.started_at > before.ended_at, "one at once"
    for first, fifth in zip(calls, calls[4:], strict=False):
        assert (fifth.started_at - first.started_at).total_seconds() > 1.5, "four of any two seconds here"
    assert set(goal.runs.values_list("attempt", "losses", "waiting_for")) == {(1, 0, "")}


@pytest.mark.long
def test_the_machine_s_own_model_has_limits_too(engine: Engine) -> None:
    engine.serve(writes_a_file, Faults(delay=0.05))
    with override_settings(LLM_PACE={"requests": 0, "tokens": 0, "parallel": 1}):
        goal = engine.work(engine.goal("one\ntwo\nthree"), seconds=60)
    assert goal.status == "succeeded", story(goal)
    calls = list(Call.objects.filter(run__goal=goal, kind="llm").order_by("started_at"))
    assert all(a.ended_at is not None and b.started_at > a.ended_at for a, b in itertools.pairwise(calls))


@pytest.mark.long
def test_who_waits_says_for_what_and_can_be_cancelled(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "SEEN", 0.1)
    gate = Gated("executor", answerer=writes_a_file)
    server = engine.serve(gate)
    services.add_provider("slow", team=None, base_url=server.url, parallel_calls=1, by="x")
    goal = engine.goal("one\ntwo", role_models=["slow/m"])
    waits = Run.objects.filter(goal=goal).exclude(waiting_for="")
    assert until(lambda: engine.worker.claim_idle() >= 0 and waits.exists(), 20)
    assert waits.get().status == RunStatus.RUNNING
    engine.worker.active.all()[0].check()
    assert "waits for the limits of provider slow (1 calls at once), until" in why_of(Goal.objects.get(pk=goal.pk))
    services.cancel_goal(goal.pk, by="ada")
    gate.open()
    for run in engine.worker.active.all():
        run.stop("cancelled")
    assert engine.work(goal).status == "cancelled"


@pytest.mark.long
def test_a_long_wait_gives_the_run_back_without_an_attempt_and_a_chain_goes_on_at_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "limiter", Limiter(60))
    monkeypatch.setattr(pacing, "PATIENCE", 0.5)
    server = engine.serve(writes_a_file)
    services.add_provider("slow", team=None, base_url=server.url, requests_per_minute=1, by="x")
    services.add_provider("free", team=None, base_url=server.url, by="x")
    alone = engine.goal("one", role_models=["slow/m"])
    back = Run.objects.filter(goal=alone, kind="step", fence__gt=0).exclude(waiting_for="")
    engine.work(alone, until=back.exists)
    run = Run.objects.get(goal=alone, kind="step")
    assert (run.attempt, run.losses) == (1, 0)
    seen = {"started_at": timezone.now(), "seen_at": timezone.now()}
    WorkerRow.objects.create(id="build-1:7:abc", queues=Queue.values, **seen)
    assert "for the limits of provider slow (1 requests a minute)" in why_of(Goal.objects.get(pk=alone.pk))
    services.cancel_goal(alone.pk, by="ada")
    chained = engine.work(engine.goal("one", role_models=["slow/m,free/n"]))
    assert chained.status == "succeeded", story(chained)
    fell = Event.objects.filter(goal=chained, kind="model.fell_back").values_list("data__cause", "data__to")
    assert set(fell) == {("rate_limited", "free/n")}

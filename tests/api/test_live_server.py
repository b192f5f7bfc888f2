"""Over a real server: a POST never waits for Redis, events come as they happen, and a client may vanish."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User

from orchestration import services
from orchestration.redis_server import RedisServer
from orchestration.services.access import create_token
from tests.support.installation import BASE, database_url, until
from tests.support.people import member
from tests.support.postgres import PostgresServer
from tests.support.web import WebProcess

pytestmark = [pytest.mark.services, pytest.mark.django_db(transaction=True)]
QUICK = 1.0  # seconds, for a POST while Redis is away
WAITS = 30.0


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    with server:
        yield server
        if server.pid:
            os.kill(server.pid, signal.SIGCONT)


@pytest.fixture
def web(redis_server: RedisServer, tmp_path: Path) -> Iterator[WebProcess]:
    env = os.environ | {
        "DJANGO_SETTINGS_MODULE": "compymac_site.settings",
        "DATABASE_URL": database_url(),
        "DATA_DIR": str(tmp_path / "data"),
        "REDIS_URL": redis_server.url,
        "CELERY_BROKER_URL": redis_server.url,
        "PYTHONUNBUFFERED": "1",
    }
    with ExitStack() as stack:
        yield WebProcess(dict(env), tmp_path, stack)


@pytest.fixture
def ada() -> User:
    return member("ada", password="x")


@pytest.fixture
def asks(web: WebProcess, ada: User) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {create_token(user=ada, name='tests')[1]}"}
    with httpx.Client(base_url=f"{web.url}/api/v1", headers=headers, timeout=WAITS) as client:
        yield client


def stopped(server: RedisServer) -> None:
    server.stop()


def frozen(server: RedisServer) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)


def runs(server: RedisServer) -> None:
    """As it should be."""


@pytest.mark.parametrize("redis", [runs, stopped, frozen])
def test_a_post_never_waits_for_redis(
    asks: httpx.Client, redis_server: RedisServer, redis: Callable[[RedisServer], None]
) -> None:
    asks.post("/goals", json={"text": "the first one loads what a process loads once"})
    redis(redis_server)
    for verb in ("cancel", "pause", "resume", "retry", "submit", "schedule", "run"):
        took = fastest(asks, verb)
        assert took < QUICK, f"{verb} with Redis {redis.__name__}: {took:.2f} s"


def fastest(asks: httpx.Client, verb: str) -> float:
    """Of three: a loaded machine may delay one, a publish would delay each (a frozen Redis: for 5 s)."""
    return min(posted(asks, verb, n) for n in range(3))


def posted(asks: httpx.Client, verb: str, n: int) -> float:
    goal = services.submit_goal(f"goal {n}", by=User.objects.get())
    path, body = f"/goals/{goal.pk}/{verb}", {}
    if verb == "resume":
        services.pause_goal(goal.pk, reason="lunch")
    if verb == "retry":
        services.cancel_goal(goal.pk)
    if verb == "submit":
        path, body = "/goals", {"text": "Make the tests pass"}
    if verb == "run":
        nightly = services.add_schedule(name="nightly", cron="0 2 * * *", text="goal", owner=User.objects.get())
        path = f"/schedules/{nightly.pk}/run"
    if verb == "schedule":
        path, body = "/schedules", {"name": f"nightly {n}", "cron": "0 2 * * *", "text": "Make the tests pass"}
    begun = time.monotonic()
    answer = asks.post(path, json=body)
    took = time.monotonic() - begun
    assert answer.is_success, answer.text
    return took


def messages(answer: httpx.Response) -> Iterator[tuple[str, str, Any]]:
    """(event, id, data) of each message."""
    message: dict[str, str] = {}
    for line in answer.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            message[name] = value
        elif message.get("event"):
            yield message["event"], message.get("id", ""), json.loads(message["data"])
            message = {}


@pytest.mark.parametrize("redis", [runs, stopped, frozen])
def test_events_come_as_they_happen_and_the_stream_ends_with_the_goal(
    asks: httpx.Client, ada: User, redis_server: RedisServer, redis: Callable[[RedisServer], None]
) -> None:
    goal = services.submit_goal("Make the tests pass", by=ada)
    redis(redis_server)
    with asks.stream("GET", f"/goals/{goal.pk}/events", headers={"Accept": "text/event-stream"}) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["cache-control"] == "no-store"
        coming = messages(answer)
        first = next(coming)
        assert (first[0], first[1], first[2]["kind"]) == ("changed", "1", "goal.submitted")
        services.cancel_goal(goal.pk, reason="enough")
        told = [message for message in coming if message[0] != "beat"]
    assert told[-1][0] == "ended"
    listed = asks.get(f"/goals/{goal.pk}/events").json()["results"]
    assert [first[2], *(data for name, _, data in told if name == "changed")] == listed
    assert [int(number) for name, number, _ in told if name == "changed"] == [row["seq"] for row in listed][1:]


def test_a_client_that_was_cut_off_goes_on_where_it_was(asks: httpx.Client, ada: User) -> None:
    goal = services.submit_goal("Make the tests pass", by=ada)
    services.cancel_goal(goal.pk)
    whole = [row["seq"] for row in asks.get(f"/goals/{goal.pk}/events").json()["results"]]
    for query, headers, after in (
        ("?after=2", {}, 2),
        ("?after=1", {"Last-Event-ID": "3"}, 3),
        ("", {"Last-Event-ID": "x"}, 0),
    ):
        accept = {"Accept": "text/event-stream"} | headers
        with asks.stream("GET", f"/goals/{goal.pk}/events{query}", headers=accept) as answer:
            told = [int(number) for name, number, _ in messages(answer) if name == "changed"]
        assert told == [seq for seq in whole if seq > after]


def test_clients_that_vanish_leave_the_server_as_it_was(asks: httpx.Client, web: WebProcess, ada: User) -> None:
    goal = services.submit_goal("Make the tests pass", by=ada)
    address = f"{web.url}/api/v1/goals/{goal.pk}/events"
    accept = {"Accept": "text/event-stream", "Authorization": asks.headers["Authorization"]}
    asks.get(f"/goals/{goal.pk}").raise_for_status()  # PostgreSQL's pool starts its threads with the first question
    before = web.threads()
    with ExitStack() as stack:
        for _ in range(12):
            answer = stack.enter_context(httpx.stream("GET", address, headers=accept, timeout=WAITS))
            assert next(messages(answer))[0] == "changed"
        assert web.threads() > before, "each stream has a thread that reads its rows"
    assert until(lambda: web.threads() <= before + 5, 60), f"{before} threads became {web.threads()}"
    assert asks.get(f"/goals/{goal.pk}").status_code == 200


def test_a_stranger_gets_no_stream(web: WebProcess, ada: User) -> None:
    goal = services.submit_goal("Make the tests pass", by=ada)
    address = f"{web.url}/api/v1/goals/{goal.pk}/events"
    answer = httpx.get(address, headers={"Accept": "text/event-stream"}, timeout=WAITS)
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")


@pytest.mark.long
def test_a_database_that_is_away_is_503_and_comes_back(tmp_path: Path) -> None:
    with PostgresServer() as database, ExitStack() as stack:
        env = os.environ | {
            "DJANGO_SETTINGS_MODULE": "compymac_site.settings",
            "DATABASE_URL": database.url,
            "DATA_DIR": str(tmp_path / "data"),
        }
        for words in (("manage.py", "migrate", "--verbosity=0"), ("-m", "tests.api.seeded", str(tmp_path))):
            done = subprocess.run(
                [sys.executable, *words], env=env, cwd=BASE, check=True, capture_output=True, text=True
            )
        web = WebProcess(dict(env), tmp_path, stack)
        headers = {"Authorization": f"Bearer {json.loads(done.stdout)['token']}"}
        with httpx.Client(base_url=f"{web.url}/api/v1", headers=headers, timeout=90) as asks:
            assert asks.get("/goals").status_code == 200
            database.stop()
            for answer in (asks.get("/goals"), asks.post("/goals", json={"text": "x"})):
                assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
                assert (answer.json()["type"], answer.headers["retry-after"]) == (
                    "urn:compymac:problem:database-away",
                    "5",
                )
            database.start()
            assert until(lambda: asks.post("/goals", json={"text": "x"}).status_code == 202, 60)

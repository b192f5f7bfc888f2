"""A Redis that is frozen (its process is stopped, its port still accepts): worse than one that is gone, and nobody waits for it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from django.contrib.auth.models import User
from django.test import Client

from orchestration import services
from orchestration.models import Goal
from tests.support.installation import Installation, story
from tests.support.models import writes_a_file
from tests.support.web import WebProcess

pytestmark = pytest.mark.long

QUICK = 1.0
PROBES = 2.5  # they ask Redis, for a second at most
PAGES = ("", "goals/", "goals/new/", "workers/", "repositories/", "schedules/", "schedules/new/", "tokens/")
TABS = ("", "commands/", "changes/", "reviews/", "events/", "artifacts/", "json/")
ADMIN = ("", "orchestration/goal/", "orchestration/run/", "orchestration/worker/", "django_celery_results/taskresult/")
API = ("goals", "runs", "events", "artifacts", "workers", "queues", "breakers", "schedules")


@pytest.fixture
def frozen(installation: Installation) -> Iterator[Installation]:
    """`freeze` it when the test wants so."""
    yield installation
    if installation.redis.pid:
        os.kill(installation.redis.pid, signal.SIGCONT)


def freeze(installation: Installation) -> None:
    assert installation.redis.pid is not None
    os.kill(installation.redis.pid, signal.SIGSTOP)


def timed_goal(installation: Installation) -> float:
    begun = time.monotonic()
    goal = services.submit_goal("one\ntwo\nthree")
    assert installation.ended(goal, 90).status == "succeeded", story(goal)
    return time.monotonic() - begun


def test_a_worker_works_from_the_database_and_no_run_waits_for_redis(frozen: Installation) -> None:
    frozen.model.answerer = writes_a_file
    frozen.worker(WORKER_THREADS="1")  # with more of them the others would hide one that waits
    timed_goal(frozen)
    usual = min(timed_goal(frozen) for _ in range(2))
    freeze(frozen)
    first, *more = [timed_goal(frozen) for _ in range(3)]
    # the first may find a connection that hangs; a machine under load is slow once, a wait for Redis would be there each time
    assert min(more) < usual + 4, f"usually {usual:.1f} s; frozen {first:.1f} s, then {more} s"
    os.kill(frozen.redis.pid or 0, signal.SIGCONT)
    assert timed_goal(frozen) < 60


def test_a_worker_that_starts_while_it_is_frozen_works(frozen: Installation) -> None:
    frozen.model.answerer = writes_a_file
    freeze(frozen)
    goal = services.submit_goal("one")
    frozen.worker()
    assert frozen.ended(goal, 60).status == "succeeded"


def test_a_worker_stops_in_time_while_it_is_frozen(frozen: Installation) -> None:
    worker = frozen.worker()
    freeze(frozen)
    begun = time.monotonic()
    worker.stop(60)
    assert time.monotonic() - begun < 30


def test_the_command_answers_as_quickly_as_ever(frozen: Installation) -> None:
    def submitted() -> float:
        begun = time.monotonic()
        frozen.manage("goal", "submit", "Write a note")
        return time.monotonic() - begun

    submitted()
    usual = min(submitted() for _ in range(2))
    freeze(frozen)
    assert min(submitted() for _ in range(3)) < 2 * usual + QUICK, (
        "its own start takes as long as it takes; a wait for Redis would add 5 s"
    )
    assert Goal.objects.count() == 6


def test_no_page_waits_for_it(frozen: Installation) -> None:
    ada = User.objects.create_superuser("ada", password="x")
    browser = Client()
    browser.force_login(ada)
    goal = services.submit_goal("Write a note", by=ada)
    run = goal.runs.get()
    with ExitStack() as stack:
        web = WebProcess(frozen.env, frozen.folder, stack)
        cookies = {name: morsel.value for name, morsel in browser.cookies.items()}
        with httpx.Client(base_url=web.url, cookies=cookies, timeout=30, follow_redirects=True) as asks:
            pages = [f"/{page}" for page in PAGES] + [f"/goals/{goal.pk}/{tab}" for tab in TABS]
            pages += [f"/goals/{goal.pk}/runs/{run.pk}/", "/healthz", *(f"/admin/{page}" for page in ADMIN)]
            pages += [f"/api/v1/{page}" for page in API]
            for page in pages:
                assert asks.get(page).status_code == 200, page
            freeze(frozen)
            took = {page: fastest(asks, page) for page in pages}
            assert {page: s for page, s in took.items() if s > QUICK} == {}
            took = {page: fastest(asks, page) for page in ("/readyz", "/metrics")}
            assert {page: s for page, s in took.items() if s > PROBES} == {}


def fastest(asks: httpx.Client, page: str) -> float:
    """Of two: a loaded machine may delay one."""

    def once() -> float:
        begun = time.monotonic()
        assert asks.get(page).status_code == 200, page
        return time.monotonic() - begun

    return min(once(), once())

"""Which Redis and which database a worker accepts, and what it says when they do not belong together."""

from __future__ import annotations

import uuid

import pytest
import redis

from orchestration import services
from orchestration.broker import MARKER, installation_id
from orchestration.models import Goal, Worker
from tests.support.installation import Installation, WorkerProcess, until
from tests.support.models import writes_a_file


def refused(installation: Installation, **env: str) -> str:
    """What a worker says that ends at once with 2."""
    log = installation.folder / "refused.log"
    worker = WorkerProcess(installation.env | env, log)
    try:
        assert worker.process.wait(30) == 2, log.read_text()[-2000:]
    finally:
        worker.process.kill()
    return log.read_text()


def client(installation: Installation) -> redis.Redis:
    return redis.Redis.from_url(installation.redis.url)


def test_an_evicting_redis_is_refused_with_the_remedy(installation: Installation) -> None:
    client(installation).config_set("maxmemory-policy", "allkeys-lru")
    said = refused(installation)
    assert "allkeys-lru" in said
    assert "config set maxmemory-policy noeviction" in said


def test_a_redis_of_another_installation_is_refused_naming_both_and_what_to_set(installation: Installation) -> None:
    theirs = str(uuid.uuid4())
    client(installation).set(MARKER, theirs)
    said = refused(installation)
    assert theirs in said
    assert str(installation_id()) in said
    assert "DATABASE_URL" in said


def test_a_database_without_tables_is_refused_with_the_variable(installation: Installation) -> None:
    said = refused(installation, DATABASE_URL=f"sqlite:///{installation.folder / 'empty.sqlite3'}")
    assert "migrate" in said
    assert "DATABASE_URL" in said


def test_what_was_queued_while_no_worker_ran_and_without_a_message_begins_with_the_first_worker(
    installation: Installation,
) -> None:
    nobody = "redis://127.0.0.1:1/0"
    installation.manage("goal", "submit", "Write a note", REDIS_URL=nobody, CELERY_BROKER_URL=nobody)
    installation.worker(LLM_BASE_URL=installation.serve_model(writes_a_file).url, HOUSEKEEPER_SECONDS="600")
    assert installation.ended(Goal.objects.get()).status == "succeeded"


def test_the_queues_keys_carry_the_installation(installation: Installation) -> None:
    installation.worker()
    assert until(lambda: bool(list(client(installation).scan_iter("compymac:*_kombu*"))))
    ours = f"compymac:{installation_id()}:".encode()
    assert [key for key in client(installation).scan_iter("*_kombu*") if not key.startswith(ours)] == []


@pytest.mark.parametrize("named", ["CELERY_BROKER_URL", "REDIS_URL"])
def test_one_address_serves_both(installation: Installation, named: str) -> None:
    other = {"CELERY_BROKER_URL": "REDIS_URL", "REDIS_URL": "CELERY_BROKER_URL"}[named]
    del installation.env[other]
    installation.env["LLM_BASE_URL"] = installation.serve_model(writes_a_file).url
    installation.worker()
    code = """
from datetime import timedelta
from orchestration.tasks import plan_task
from orchestration import DistributedArtifactStore
DistributedArtifactStore().store("seen", plan_task.delay("one", {}).get(timeout=30))
"""
    installation.manage("shell", "-c", code)
    assert client(installation).exists("artifact:seen")
    assert Goal.objects.get().status == "succeeded"


def test_the_worker_has_the_threads_that_celery_was_given(installation: Installation) -> None:
    installation.worker("--concurrency=3")
    assert Worker.objects.get().threads == 3


def test_a_goal_of_a_worker_that_is_given_one_queue_waits_for_the_others(installation: Installation) -> None:
    installation.env["LLM_BASE_URL"] = installation.serve_model(writes_a_file).url
    goal = services.submit_goal("one")
    installation.worker("--queues=planning")
    assert until(lambda: goal.runs.filter(kind="step", status="queued").exists()), installation.logs()
    installation.worker("--queues=execution,review")
    assert installation.ended(goal).status == "succeeded"

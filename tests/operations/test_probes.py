"""The probes tell machines the truth, quickly, whatever is away; the numbers are for those who may read them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from orchestration import readiness, services
from orchestration.models import Call, Installation, Run, Worker
from orchestration.redis_server import RedisServer
from orchestration.states import CallKind, CallStatus, GoalStatus

pytestmark = pytest.mark.django_db


@pytest.fixture
def all_well(tmp_path: Any, settings: Any) -> Iterator[RedisServer]:
    """A Redis, a worker and a beat that were just seen."""
    now = timezone.now()
    Worker.objects.create(id="host:1:a", queues=["planning"], threads=4, started_at=now, seen_at=now)
    Installation.objects.update_or_create(only=True, defaults={"beat_ticked_at": now})
    with RedisServer(tmp_path / "redis") as server:
        settings.CELERY_BROKER_URL = server.url
        yield server


def ready(client: Client, status: int = 200) -> dict[str, Any]:
    answer = client.get("/readyz")
    assert answer.status_code == status
    return dict(answer.json())


def test_alive_means_that_the_process_answers_without_database_and_login(client: Client) -> None:
    with CaptureQueriesContext(connection) as asked:
        answer = client.get("/healthz")
    assert (answer.status_code, answer.content) == (200, b"ok\n")
    assert len(asked) == 0


def test_all_is_well(client: Client, all_well: RedisServer) -> None:
    found = ready(client)
    assert found["status"] == "ok", found
    assert found["worker"]["seconds_ago"] < 60


def test_without_redis_it_is_degraded_and_not_down(client: Client, all_well: RedisServer) -> None:
    all_well.stop()
    found = ready(client)
    assert (found["status"], found["redis"]["status"], found["database"]["status"]) == ("degraded", "down", "ok")


def test_a_redis_that_accepts_and_never_answers_is_down_too(client: Client, all_well: None, settings: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        settings.CELERY_BROKER_URL = f"redis://127.0.0.1:{frozen.getsockname()[1]}/0"
        assert ready(client)["redis"]["status"] == "down"


def test_a_worker_and_a_beat_that_fell_silent_are_missing(client: Client, all_well: RedisServer) -> None:
    long_ago = timezone.now() - timedelta(minutes=10)
    Worker.objects.update(seen_at=long_ago)
    Installation.objects.update(beat_ticked_at=long_ago)
    found = ready(client)
    assert found["status"] == "degraded"
    assert (found["worker"]["status"], found["beat"]["status"]) == ("missing", "missing")
    assert found["worker"]["seconds_ago"] == pytest.approx(600, abs=60)


def test_a_new_installation_has_never_seen_them(client: Client) -> None:
    found = ready(client)
    assert (found["worker"], found["beat"]) == ({"status": "missing", "seconds_ago": None},) * 2


def test_only_without_a_database_it_is_503(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    class Away:
        vendor = "sqlite"

        def cursor(self) -> Any:
            raise OperationalError("connection to server at 10.0.0.7 failed: password authentication failed")

        def close(self) -> None: ...

    monkeypatch.setattr(type(readiness.connection._connections["default"]), "copy", lambda *_: Away(), raising=False)
    found = ready(client, 503)
    assert found == {"status": "down", "database": {"status": "down", "problem": "OperationalError"}}, "and no address"


# ---- the numbers


def samples(client: Client, **more: Any) -> dict[tuple[str, ...], float]:
    answer = client.get("/metrics", **more)
    assert answer.status_code == 200
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
    }


def a_call(run: Run, index: int, **more: Any) -> None:
    Call.objects.create(
        run=run, turn=index, index=0, kind=CallKind.LLM, status=CallStatus.DONE, fence=1, request_hash="x", **more
    )


def test_goals_queues_losses_tokens_and_cost_are_told(client: Client, all_well: RedisServer) -> None:
    services.submit_goal("Write a note")
    services.cancel_goal(services.submit_goal("Write another").pk)
    run = Run.objects.get(status="queued")
    since = timezone.now() - timedelta(seconds=50)
    Run.objects.filter(pk=run.pk).update(losses=2, queued_at=since, not_before=since)
    a_call(run, 0, model="qwen", prompt_tokens=100, completion_tokens=20, cached_tokens=5, cost=Decimal("0.25"))
    a_call(run, 1, model="qwen", prompt_tokens=50, completion_tokens=10)
    told = samples(client)
    assert told["compymac_goals", GoalStatus.PLANNING] == 1
    assert told["compymac_goals", GoalStatus.CANCELLED] == 1
    assert told["compymac_goals", GoalStatus.FAILED] == 0, "a status without a goal is told too"
    assert told["compymac_runs", "plan", "queued"] == 1
    assert told[("compymac_run_losses_total",)] == 2
    assert told["compymac_queue_waiting", "planning"] == 1
    assert told["compymac_queue_oldest_seconds", "planning"] == pytest.approx(50, abs=30)
    assert (told["compymac_queue_workers", "planning"], told["compymac_queue_workers", "review"]) == (1, 0)
    assert told["compymac_model_tokens_total", "prompt", "qwen"] == 150
    assert told["compymac_model_tokens_total", "completion", "qwen"] == 30
    assert told["compymac_model_cost_usd_total", "qwen"] == 0.25
    assert told["compymac_model_unpriced_calls_total", "qwen"] == 1, "unknown is not 0"
    assert told[("compymac_workers",)] == 1
    assert told[("compymac_redis_up",)] == 1
    assert told[("compymac_beat_age_seconds",)] < 60


def test_a_beat_that_never_ticked_has_no_age(client: Client) -> None:
    told = samples(client)
    assert ("compymac_beat_age_seconds",) not in told
    assert ("compymac_worker_age_seconds",) not in told
    assert told[("compymac_redis_up",)] == 0


def test_it_asks_as_much_for_many_goals_as_for_one(client: Client) -> None:
    counts = []
    for more in (1, 10):
        for _ in range(more):
            services.submit_goal("Write a note")
        with CaptureQueriesContext(connection) as asked:
            samples(client)
        counts.append(len(asked))
    assert counts[0] == counts[1] < 15


@pytest.mark.parametrize(
    ("token", "headers", "address", "status"),
    [
        ("", {}, "127.0.0.1", 200),
        ("", {}, "::1", 200),
        ("", {}, "10.0.0.9", 403),
        ("", {"X-Forwarded-For": "8.8.8.8"}, "127.0.0.1", 403),
        ("", {"X-Forwarded-For": "127.0.0.1"}, "127.0.0.1", 403),
        ("", {"Authorization": "Bearer "}, "10.0.0.9", 403),
        ("s3cret", {"Authorization": "Bearer s3cret"}, "10.0.0.9", 200),
        ("s3cret", {"Authorization": "bearer s3cret", "X-Forwarded-For": "8.8.8.8"}, "127.0.0.1", 200),
        ("s3cret", {"Authorization": "Bearer wrong"}, "10.0.0.9", 403),
        ("s3cret", {"Authorization": "Bearer wrong"}, "127.0.0.1", 403),
        ("s3cret", {"Authorization": "Bearer ☃"}, "10.0.0.9", 403),
        ("s3cret", {"Authorization": "Basic s3cret"}, "10.0.0.9", 403),
        ("s3cret", {}, "127.0.0.1", 200),
    ],
)
def test_the_numbers_are_for_this_machine_and_for_the_token(
    client: Client, settings: Any, token: str, headers: dict[str, str], address: str, status: int
) -> None:
    settings.METRICS_TOKEN = token
    answer = client.get("/metrics", headers=headers, REMOTE_ADDR=address)
    assert answer.status_code == status
    assert status == 200 or b"METRICS_TOKEN" in answer.content


@pytest.mark.parametrize("page", ["/healthz", "/readyz", "/metrics"])
def test_they_are_asked_and_not_told(client: Client, page: str) -> None:
    assert client.post(page).status_code == 405
    assert "no-store" in client.get(page)["Cache-Control"]

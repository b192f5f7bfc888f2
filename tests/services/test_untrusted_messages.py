"""Nothing that anybody may have written to our Redis runs code in a worker or ends it: the same process works on afterwards."""

from __future__ import annotations

import base64
import json
import time
import uuid
from pathlib import Path

import pytest
import redis

from orchestration import broker, services
from orchestration.models import Run
from tests.support.installation import Installation, WorkerProcess, story, until
from tests.support.models import writes_a_file
from tests.support.poison import as_bytes, bad_entries, message, wrong_words

pytestmark = pytest.mark.long

# One thread: whatever costs the worker a place costs it all of them. No housekeeper: what is worked was brought by a message.
LONELY = {"WORKER_THREADS": "1", "HOUSEKEEPER_SECONDS": "3600", "DRAIN_SECONDS": "1"}


@pytest.fixture
def worker(installation: Installation) -> WorkerProcess:
    installation.model.answerer = writes_a_file
    return installation.worker(**LONELY)


@pytest.fixture
def client(installation: Installation) -> redis.Redis:
    return redis.Redis.from_url(installation.redis.url)


def queue(name: str = "planning") -> str:
    return f"{broker.key_prefix()}{name}"


def takes(client: redis.Redis, entry: bytes, seconds: float = 10) -> bool:
    client.lpush(queue(), entry)
    return until(lambda: not client.exists(queue()), seconds)


def plans(client: redis.Redis, worker: WorkerProcess, seconds: float = 30) -> bool:
    """A real goal's plan, brought by a real message."""
    run = services.submit_goal("one").runs.get()
    client.lpush(queue(), as_bytes(message(kwargs={"run_id": str(run.pk)})))
    return (
        until(lambda: Run.objects.filter(pk=run.pk, status="succeeded").exists(), seconds)
        and worker.process.poll() is None
    )


def test_entries_of_its_queue(installation: Installation, worker: WorkerProcess, client: redis.Redis) -> None:
    mark = installation.folder / "code-ran"
    assert plans(client, worker)
    stuck = []
    for name, entry in (*bad_entries(str(mark)), *wrong_words(str(mark))):
        if not takes(client, entry):
            stuck.append(name)
            break
    assert stuck == [], worker.log.read_text(errors="replace")[-3000:]
    assert plans(client, worker), worker.log.read_text(errors="replace")[-3000:]
    assert not mark.exists()
    assert "Connection to broker lost" not in worker.text
    assert max(map(len, worker.text.splitlines())) < 400_000


def test_a_worker_that_starts_among_them(installation: Installation, client: redis.Redis) -> None:
    installation.model.answerer = writes_a_file
    for _, entry in bad_entries("/nowhere"):
        client.lpush(queue(), entry)
    old = time.time() - 7200
    for n, rubbish in enumerate(
        (b"", b"\x80", b"null", b"[1]", b"[[],[],[]]", b'[{}, "", "planning"]', b"[" * 100_000)
    ):
        client.hset(queue("unacked"), f"tag{n}", rubbish)
        client.zadd(queue("unacked_index"), {f"tag{n}": old + n})
    client.zadd(queue("unacked_index"), {b"\xff\x00": old})
    worker = installation.worker(**LONELY)
    assert until(lambda: not client.exists(queue()), 30), worker.log.read_text(errors="replace")[-3000:]
    assert plans(client, worker), worker.log.read_text(errors="replace")[-3000:]
    assert until(lambda: not client.exists(queue("unacked")), 30), "what cannot be read is not tried for ever"


@pytest.mark.parametrize("name", ["planning", "unacked", "unacked_index", "_kombu.binding.planning"])
def test_a_key_that_holds_something_else(
    installation: Installation, worker: WorkerProcess, client: redis.Redis, name: str
) -> None:
    client.delete(queue(name))
    client.set(queue(name), "no list")
    if name != "planning":
        client.lpush(queue(), as_bytes(message(kwargs={"run_id": str(uuid.uuid4())})))
    # nobody has to do anything: the worker that Redis refuses removes it when it connects anew
    if name == "planning":
        assert until(lambda: client.type(queue(name)) != b"string", 30), worker.log.read_text(errors="replace")[-3000:]
    assert plans(client, worker, 40), worker.log.read_text(errors="replace")[-3000:]


PING = "from compymac_site.celery import app; print(app.control.ping(timeout=5))"
ORDERS = """
from compymac_site.celery import app
control = app.control
control.pool_shrink(50)
control.pool_grow(50)
control.revoke({run!r}, terminate=True, signal="SIGKILL")
control.terminate({run!r}, signal="SIGKILL")
control.rate_limit("plan_task", "1/h")
control.time_limit("plan_task", soft=1, hard=1)
control.autoscale(1, 0)
control.broadcast("pool_restart", arguments={{"modules": ["this"], "reload": True}})
control.broadcast("election", arguments={{"id": "1", "topic": "task", "action": {{"task": "os.system"}}}})
control.broadcast("hello", arguments={{"from_node": "x", "revoked": {{{run!r}: 1.0}}}})
control.cancel_consumer("planning")
control.broadcast("no_such_thing")
control.shutdown()
print(app.control.ping(timeout=5))
"""


def test_orders_by_remote_control_are_not_obeyed_and_questions_answered(
    installation: Installation, worker: WorkerProcess, client: redis.Redis
) -> None:
    run = services.submit_goal("one").runs.get()
    said = installation.manage("shell", "-c", ORDERS.format(run=str(run.pk))).stdout
    assert "pong" in said, worker.log.read_text(errors="replace")[-3000:]
    client.lpush(queue(), as_bytes(message(headers={"id": str(run.pk)}, kwargs={"run_id": str(run.pk)})))
    assert until(lambda: Run.objects.filter(pk=run.pk, status="succeeded").exists(), 30), story(run.goal)
    assert plans(client, worker)
    for _ in range(30):
        client.lpush(queue(), as_bytes(message(kwargs={"run_id": str(uuid.uuid4())})))
    assert until(lambda: not client.exists(queue()), 10), "no rate limit"


def test_what_is_published_on_its_channels(
    installation: Installation, worker: WorkerProcess, client: redis.Redis
) -> None:
    channels = client.pubsub_channels()
    patterns = [name.decode().replace("*", "x") for name in worker_patterns(client)]
    assert channels or patterns
    for channel in (*(name.decode() for name in channels), *patterns):
        for _, entry in bad_entries("/nowhere"):
            client.publish(channel, entry)
        for body in (
            {"method": "shutdown", "arguments": {}},
            {"method": {"a": 1}},
            {"method": "ping", "arguments": 5},
            [],
        ):
            client.publish(channel, as_bytes(message(json.dumps(body).encode())))
    time.sleep(2)
    assert plans(client, worker), worker.log.read_text(errors="replace")[-3000:]
    assert "pong" in installation.manage("shell", "-c", PING).stdout


def worker_patterns(client: redis.Redis) -> list[bytes]:
    """Its pattern subscriptions can only be counted: Celery's own names of them."""
    return [
        f"{broker.key_prefix()}/0.celeryev/worker.heartbeat".encode(),
        f"{broker.key_prefix()}/0.celeryev/task.sent".encode(),
    ]


def test_a_mark_would_be_seen(tmp_path: Path) -> None:
    """The pickle among the entries is one that works."""
    mark = tmp_path / "code-ran"
    entries = dict(bad_entries(str(mark)))
    assert str(mark) in base64.b64decode(json.loads(entries["pickle"])["body"]).decode()

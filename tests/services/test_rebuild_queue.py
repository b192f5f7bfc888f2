"""rebuild_queue: Redis holds what the database says, whatever it held before."""

from __future__ import annotations

import json

import redis

from orchestration import broker, services
from orchestration.models import Run
from orchestration.queue_keys import misfits
from tests.support.installation import Installation, until
from tests.support.models import writes_a_file

PUBLISH = """
from orchestration.tasks import plan_task
plan_task.apply_async(["by hand, about 'run_id'"], task_id="mine")
plan_task.apply_async(kwargs={{"run_id": "{run}"}}, task_id="{run}")
"""


def held(client: redis.Redis, queue: str = "planning") -> list[str]:
    rows = client.lrange(f"{broker.key_prefix()}{queue}", 0, -1)
    return [json.loads(row)["headers"]["id"] for row in rows]


def test_each_due_run_is_there_once_and_nonsense_is_gone(installation: Installation) -> None:
    client = redis.Redis.from_url(installation.redis.url)
    runs = [str(services.submit_goal(f"goal {n}").runs.get().pk) for n in range(3)]
    paused = services.submit_goal("paused")
    services.pause_goal(paused.pk, reason="lunch")
    key = f"{broker.key_prefix()}planning"
    client.rpush(key, b"\x80garbage", b"{}", b"[1]", b'{"headers": {"task": "os.system"}}', b"[" * 100_000)
    client.set(f"{broker.key_prefix()}review", "no list")
    client.zadd(f"{broker.key_prefix()}unacked_index", {"x": 1})
    installation.manage("shell", "-c", PUBLISH.format(run=runs[0]))
    expected = {"queue": "planning", "forgotten": 6, "kept": 1, "published": 3}
    assert json.loads(installation.manage("rebuild_queue", "--json", "--dry-run").stdout)[0] == expected
    assert client.llen(key) == 7, "a dry run changes nothing"
    assert json.loads(installation.manage("rebuild_queue", "--json").stdout)[0] == expected
    assert sorted(held(client)) == sorted(["mine", *runs])
    assert not client.exists(f"{broker.key_prefix()}unacked_index")
    assert Run.objects.filter(enqueued_at__isnull=False).count() >= 3


def test_it_is_safe_while_a_worker_runs(installation: Installation) -> None:
    installation.model.answerer = writes_a_file
    installation.worker()
    goals = [services.submit_goal(f"goal {n}") for n in range(4)]
    for _ in range(2):
        said = installation.manage("rebuild_queue").stdout
    assert said.count("forgotten") == 4
    for goal in goals:
        assert installation.ended(goal).status == "succeeded"
    assert until(lambda: set(Run.objects.values_list("attempt", "losses")) == {(1, 0)}, 1)


def test_it_refuses_politely(installation: Installation) -> None:
    client = redis.Redis.from_url(installation.redis.url)
    client.set(broker.MARKER, "somebody else\x1b[2J" + "x" * 1000)
    said = installation.manage("rebuild_queue", code=1).stderr
    assert "belongs to installation somebody else" in said
    assert "\x1b" not in said
    assert len(said) < 1000
    client.delete(broker.MARKER)
    installation.redis.stop()
    said = installation.manage("rebuild_queue", "--dry-run", code=1).stderr
    assert "is Redis running" in said
    assert len(said.splitlines()) == 1


def test_keys_of_another_type_are_removed_and_a_trial_removes_nothing(installation: Installation) -> None:
    names = ["planning", "_kombu.binding.default", "unacked_index"]
    client = redis.Redis.from_url(installation.redis.url)
    for name in names:
        client.set(broker.key_prefix() + name, "no queue")
    installation.manage("rebuild_queue", "--dry-run")
    assert misfits(client, broker.key_prefix()) == names
    installation.manage("rebuild_queue")
    assert misfits(client, broker.key_prefix()) == []

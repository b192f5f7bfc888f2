"""What is measured without the peers: memory, a cold start, a database full of goals, growth, and the real sandbox."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any

from django.db import connection
from django.utils import timezone

from agents.llm.demo_server import serve
from bench.machine import BASE, Machine
from bench.measure import median, pss_mb, tree
from bench.peers.common import Shape
from bench.table import Figure, within
from orchestration.models import Event, Goal
from orchestration.redis_server import free_port
from tests.support.models import writes_a_file


@contextmanager
def embedded(here: Machine, name: str, **settings: str) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, str]]]:
    """`manage.py up` on a migrated SQLite database of its own; its port is said before it listens."""
    folder = here.file(name)
    folder.mkdir()
    folder.chmod(0o711)
    env = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL")}
    env |= {"DATA_DIR": str(folder), "ENV_FILE": str(folder / "env"), "PORT": str(free_port()), "LLM_MODEL": "bench"}
    env |= {"LLM_BASE_URL": f"{here.model_url}/0/v1", "LOG_LEVEL": "WARNING", "SECRET_KEY": "bench", **settings}
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=BASE, env=env, check=True)
    with (folder / "up.log").open("wb") as log:
        process = start(["up"], env, log)
    try:
        yield process, env
    finally:
        stop(process)


def start(words: list[str], env: dict[str, str], log: Any = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "manage.py", *words], cwd=BASE, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        start_new_session=True,
    )  # fmt: skip


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def memory(to: Any) -> list[Figure]:
    """Proportional set size of all processes of `manage.py up`, ten seconds after it answers; then one worker more."""
    with embedded(to.machine, "memory") as (process, env):
        _answers(env["PORT"])
        time.sleep(10)
        first = pss_mb(tree(process.pid))
        worker = start(["worker", "--", "-n", "two@%h"], env)
        try:
            time.sleep(10)
            further = pss_mb([*tree(process.pid), *tree(worker.pid)]) - first
        finally:
            stop(worker)
    return [
        within("memory of the idle embedded set (PSS)", "MB", first, 250),
        within("memory of each further worker (PSS)", "MB", further, 80),
    ]


def cold_start(to: Any) -> list[Figure]:
    """From nothing running to the first finished goal, with the real sandbox and git; the model is a script."""
    model = serve(answerer=writes_a_file)
    Thread(target=model.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    took = []
    for n in range(2):
        with embedded(to.machine, f"cold{n}", LLM_BASE_URL=model.url) as (_, env):
            began = time.monotonic()
            submit = [sys.executable, "manage.py", "goal", "submit", "one step", "--watch"]
            done = subprocess.run(submit, cwd=BASE, env=env, capture_output=True, timeout=120, check=False)
            took.append(time.monotonic() - began)
            if done.returncode:
                raise RuntimeError(done.stderr.decode()[-2000:])
    model.shutdown()
    model.server_close()
    return [within("first finished goal after a cold start, real sandbox (without the migration)", "s", min(took), 5)]


def full(to: Any) -> list[Figure]:
    """5,000 queued, 1,000 running, 10,000 finished goals, 100,000 events: pages, the API, a sweep."""
    url = to.machine.database_of("large")
    done = subprocess.run(
        [sys.executable, "-m", "bench.large"],
        cwd=BASE,
        env=os.environ | {"DATABASE_URL": url},
        stdout=subprocess.PIPE,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    return [
        within(
            f"{what}, 16,000 goals, 100,000 events, p95",
            "ms",
            ms,
            limit,
            note=f"{queries} statements, {few} with 30 goals",
        )
        for what, ms, limit, queries, few in found
    ]


def growth(to: Any) -> list[Figure]:
    """The time per step while the database fills with ended goals, and while the events of the very goal do."""

    def hop() -> float:
        return 1000 * median([h for _ in range(4) for h in to.ours.run(Shape(20)).hops])

    hop()
    points = [(Goal.objects.count(), hop())]
    copies: list[Goal] = []
    for wanted in (1_000, 10_000):
        copies += _ended_goals(wanted - Goal.objects.count())
        points.append((wanted, hop()))
    Event.objects.filter(goal__in=[goal.pk for goal in copies]).delete()
    Goal.objects.filter(pk__in=[goal.pk for goal in copies]).delete()
    note = ", ".join(f"{goals}: {ms:.2f}" for goals, ms in points)
    return [Figure("time per step with 10,000 goals in the database", "ms", points[-1][1], note=f"{note} ms")]


def _ended_goals(number: int) -> list[Goal]:
    now = timezone.now()
    goals = [
        Goal(text="ended", status="cancelled", cancelled_at=now, ended_at=now, event_seq=10) for _ in range(number)
    ]
    Goal.objects.bulk_create(goals, batch_size=1000)
    told = [Event(goal=goal, seq=n, kind="goal.note") for goal in goals for n in range(1, 11)]
    Event.objects.bulk_create(told, batch_size=5000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")  # what autovacuum does within a minute
    return goals


def _answers(port: str, seconds: float = 60) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        with suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2)
            return
        time.sleep(0.1)
    raise TimeoutError("manage.py up does not answer")


ALONE: dict[str, Callable[[Any], list[Figure]]] = {
    "memory": memory,
    "cold_start": cold_start,
    "full": full,
    "growth": growth,
}

"""What is measured without the peers: memory, a cold start, a database full of goals, and the real sandbox."""

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
from itertools import pairwise
from threading import Thread
from typing import Any

import psycopg

from agents.llm.demo_model import brief_in
from agents.llm.demo_server import serve
from bench.machine import BASE, Machine
from bench.measure import cpu_seconds, median, pss_mb, tree
from bench.table import Figure, within
from orchestration.redis_server import free_port
from tests.support.models import role, say, step, writes_a_file


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
    return start_process([sys.executable, "manage.py", *words], env, log)


def start_process(words: list[str], env: dict[str, str], log: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        words, cwd=BASE, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )


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
            _goal(env, 1)
            took.append(time.monotonic() - began)
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


def real_step(to: Any) -> list[Figure]:
    """A step as people have it: sandbox, git, three journaled model calls, a command. The model is a script, in this process."""
    model = serve(answerer=one_after_another)
    Thread(target=model.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    url = to.machine.database_of("real")
    with embedded(to.machine, "real", LLM_BASE_URL=model.url, DATABASE_URL=url) as (process, env):
        _answers(env["PORT"])
        _goal(env, 2)  # warm
        used = cpu_seconds([process.pid])
        _goal(env, REAL_STEPS)
        used = cpu_seconds([process.pid]) - used
    model.shutdown()
    model.server_close()
    with psycopg.connect(url) as database:
        begun = [row[0] for row in database.execute(BEGUN).fetchall()]
    hops = [(b - a).total_seconds() * 1000 for a, b in pairwise(begun[-REAL_STEPS:])]
    note = "sandbox, git, 3 journaled calls, 1 command"
    return [
        Figure("time per real step in a chain of 10, p50", "ms", median(hops), note=note),
        Figure(
            "CPU per real step (with plan and review, workers, sandboxes, web, beat)", "ms", 1000 * used / REAL_STEPS
        ),
    ]


REAL_STEPS = 10
BEGUN = "SELECT started_at FROM orchestration_run WHERE kind = 'step' ORDER BY started_at"


def one_after_another(request: Any) -> Any:
    """`writes_a_file`, and each step waits for the one before."""
    if role(request) != "planner":
        return writes_a_file(request)
    lines = brief_in(request["messages"])["goal"].splitlines()
    steps = [step(n, line, dependencies=[n - 1] if n else []) for n, line in enumerate(lines)]
    return say({"summary": "one after another", "steps": steps})


def _goal(env: dict[str, str], steps: int) -> None:
    text = "\n".join(f"note {n}" for n in range(steps))
    submit = [sys.executable, "manage.py", "goal", "submit", text, "--watch"]
    done = subprocess.run(submit, cwd=BASE, env=env, capture_output=True, timeout=180, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.decode()[-2000:])


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
    "real_step": real_step,
}

"""`BENCH_ALL=1`: Prefect with its local server, on the same PostgreSQL. A part of its own, since its start alone takes half a minute.

It sends the states of tasks to the server behind them, and keeps their results in files: a step waits for neither.
"""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from bench.alone import start_process, stop
from bench.machine import Machine
from bench.measure import median, pss_mb, tree
from bench.peers.common import Shape
from bench.systems import PEERS, Peer, Result
from bench.table import Figure
from orchestration.redis_server import free_port

MODULE = "prefect_peer"


@contextmanager
def server(here: Machine) -> Iterator[tuple[int, dict[str, str]]]:
    """Its pid once it answers, and the environment of whoever uses it."""
    port = free_port()
    url = here.database_of(MODULE).replace("postgres://", "postgresql+asyncpg://")
    env = here.environment(
        PREFECT_HOME=str(here.file("prefect")),
        PREFECT_API_URL=f"http://127.0.0.1:{port}/api",
        PREFECT_API_DATABASE_CONNECTION_URL=url,
        PREFECT_LOGGING_LEVEL="ERROR",
        PREFECT_LOGGING_TO_API_ENABLED="false",
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        DO_NOT_TRACK="1",
    )
    words = [str(PEERS), "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with here.file("prefect.log").open("ab") as log:
        process = start_process(words, env, log)
    try:
        _answers(f"http://127.0.0.1:{port}/api/health")
        yield process.pid, env
    finally:
        stop(process)


class Prefect(Peer):
    """One process that runs flows; its database is the server's."""

    def __init__(self, here: Machine, env: dict[str, str]) -> None:
        self.name, self.machine = "Prefect", here
        self._processes = [self._start(MODULE, env)]

    def run(self, shape: Shape, goals: int = 1, over: float = 0.0) -> Result:
        answer = self._ask(self._processes[0], shape, goals, over)
        return Result(answer["goals"], [tuple(mark) for mark in answer["marks"]], answer["seconds"])


def prefect(to: Any) -> list[Figure]:
    """A chain in turns with ours; its server's memory; and from nothing running to the first finished flow."""
    with server(to.machine):
        pass  # it makes its tables
    began = time.monotonic()
    with server(to.machine) as (pid, env):
        peer = Prefect(to.machine, env)
        try:
            peer.run(Shape(1))
            cold = time.monotonic() - began
            rounds = [(to.ours.run(Shape(20)), peer.run(Shape(20))) for _ in range(3)]
            ours, theirs = (
                1000 * median([hop for result in side for hop in result.hops]) for side in zip(*rounds, strict=True)
            )
            time.sleep(5)
            memory = pss_mb(tree(pid))
        finally:
            peer.stop()
    return [
        Figure(
            "beside Prefect: time per durable step in a chain of 20, without a call, p50",
            "ms",
            ours,
            peers={"Prefect": theirs},
        ),
        Figure("Prefect: memory of its idle server (PSS)", "MB", memory),
        Figure("Prefect: first finished flow after a cold start of its server (without the migration)", "s", cold),
    ]


def _answers(url: str, seconds: float = 120) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        with suppress(OSError), urllib.request.urlopen(url, timeout=2):
            return
        time.sleep(0.1)
    raise TimeoutError(f"{url} does not answer")

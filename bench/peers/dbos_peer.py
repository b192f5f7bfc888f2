"""DBOS: a workflow per goal on PostgreSQL, each step checkpointed before the next begins."""

from __future__ import annotations

import os
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from dbos import DBOS, DBOSConfig

from bench.peers.common import Marks, Shape, do_step, serve, spread

marks = Marks()
THREADS = 450


@DBOS.step()
def step(goal: str, index: int, call: int | None) -> int:
    do_step(marks, goal, index, call)
    return index


@DBOS.workflow()
def alone(goal: str, index: int, call: int | None) -> int:
    return step(goal, index, call)


@DBOS.workflow()
def chain(goal: str, steps: int, call: int | None) -> int:
    for index in range(steps):
        step(goal, index, call)
    return steps


@DBOS.workflow()
def fan(goal: str, steps: int, call: int | None) -> int:
    step(goal, 0, call)
    handles = [DBOS.start_workflow(alone, goal, index, call) for index in range(1, steps + 1)]
    for handle in handles:
        handle.get_result()
    return step(goal, steps + 1, call)


def run(shape: Shape, goals: int, seconds: float) -> list[float]:
    took: list[float] = []
    ended = threading.Semaphore(0)

    def one(_: int) -> None:
        began = time.monotonic()
        handle = DBOS.start_workflow(fan if shape.fan else chain, uuid.uuid4().hex, shape.steps, shape.call)

        def wait() -> None:
            handle.get_result()
            took.append(time.monotonic() - began)
            ended.release()

        waiting.submit(wait)

    with ThreadPoolExecutor(goals) as waiting:
        spread(goals, seconds, one)
        for _ in range(goals):
            ended.acquire()
    return took


if __name__ == "__main__":
    url = os.environ["DATABASE_URL"].replace("postgres://", "postgresql://")
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": url,
        "sys_db_pool_size": 12,
        "max_executor_threads": THREADS,
        "run_admin_server": False,
        "executor_id": f"bench-{os.getpid()}",
        "log_level": "ERROR",
    }
    DBOS(config=config)
    DBOS.launch()
    serve(run, marks)
    os._exit(0)

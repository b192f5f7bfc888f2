"""Raw Celery, event-driven: each task publishes the next; the last of a fan is found by a counter in Redis. Nothing is durable."""

from __future__ import annotations

import os
import time
import uuid

import redis
from celery import Celery

from bench.peers.common import Marks, Shape, do_step, serve, spread

BROKER = os.environ["REDIS_URL"]
app = Celery("bench", broker=BROKER)
app.conf.update(
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    worker_prefetch_multiplier=1,
    broker_pool_limit=10,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)
marks = Marks(os.environ.get("MARKS", ""))
store = redis.Redis.from_url(BROKER)


@app.task(name="step")
def step(goal: str, index: int, steps: int, fan: bool, call: int | None) -> None:
    do_step(marks, goal, index, call)
    last = steps + 1 if fan else steps - 1
    if index == last:
        store.rpush(f"ended:{goal}", time.monotonic())
    elif not fan:
        step.delay(goal, index + 1, steps, fan, call)
    elif index == 0:
        for following in range(1, steps + 1):
            step.delay(goal, following, steps, fan, call)
    elif store.incr(f"done:{goal}") == steps:
        step.delay(goal, last, steps, fan, call)


def run(shape: Shape, goals: int, seconds: float) -> list[float]:
    began: dict[str, float] = {}

    def one(_: int) -> None:
        goal = uuid.uuid4().hex
        began[goal] = time.monotonic()
        step.delay(goal, 0, shape.steps, shape.fan, shape.call)

    spread(goals, seconds, one)
    waiting = redis.Redis.from_url(BROKER, socket_timeout=None)
    return [float(waiting.blpop([f"ended:{goal}"], 0)[1]) - start for goal, start in began.items()]


if __name__ == "__main__":
    serve(run, Marks())

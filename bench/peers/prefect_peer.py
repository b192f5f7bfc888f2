"""Prefect: a flow run per goal and a task run per step, at its local server; results are kept, so that a flow can go on from them."""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from prefect import flow, task

from bench.peers.common import Marks, Shape, do_step, serve, spread

marks = Marks()


@task(persist_result=True)
def step(goal: str, index: int, call: int | None) -> int:
    do_step(marks, goal, index, call)
    return index


@flow(persist_result=True)
def chain(goal: str, steps: int, call: int | None) -> int:
    for index in range(steps):
        step(goal, index, call)
    return steps


@flow(persist_result=True)
def fan(goal: str, steps: int, call: int | None) -> int:
    step(goal, 0, call)
    for future in [step.submit(goal, index, call) for index in range(1, steps + 1)]:
        future.result()
    return step(goal, steps + 1, call)


def run(shape: Shape, goals: int, seconds: float) -> list[float]:
    took: list[float] = []

    def one(begun: float) -> None:
        (fan if shape.fan else chain)(uuid.uuid4().hex, shape.steps, shape.call)
        took.append(time.monotonic() - begun)

    with ThreadPoolExecutor(goals) as waiting:
        spread(goals, seconds, lambda _: waiting.submit(one, time.monotonic()))
    return took


if __name__ == "__main__":
    serve(run, marks)

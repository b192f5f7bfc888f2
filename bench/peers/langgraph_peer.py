"""LangGraph with the PostgreSQL checkpointer: a thread per goal, `durability="sync"` (a step is kept before the next begins)."""

from __future__ import annotations

import operator
import os
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Annotated, Any, TypedDict

from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.graph import END, START, StateGraph
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from bench.peers.common import Marks, Shape, do_step, serve, spread

marks = Marks()


class State(TypedDict):
    goal: str
    call: int | None
    done: Annotated[list[int], operator.add]


def node(index: int) -> Any:
    def work(state: State) -> dict[str, list[int]]:
        do_step(marks, state["goal"], index, state["call"])
        return {"done": [index]}

    return work


@cache
def graph(steps: int, fan: bool) -> Any:
    build = StateGraph(State)
    last = steps + 1 if fan else steps - 1
    for index in range(last + 1):
        build.add_node(f"s{index}", node(index))
    build.add_edge(START, "s0")
    for index in range(1, last if fan else last + 1):
        build.add_edge("s0" if fan else f"s{index - 1}", f"s{index}")
    if fan:
        build.add_edge([f"s{index}" for index in range(1, last)], f"s{last}")
    build.add_edge(f"s{last}", END)
    return build.compile(checkpointer=saver)


def run(shape: Shape, goals: int, seconds: float) -> list[float]:
    took: list[Future[float]] = []

    def one() -> float:
        goal, began = uuid.uuid4().hex, time.monotonic()
        config = {"configurable": {"thread_id": goal}, "recursion_limit": shape.steps + 10}
        start: State = {"goal": goal, "call": shape.call, "done": []}
        graph(shape.steps, shape.fan).invoke(start, config, durability="sync")
        return time.monotonic() - began

    with ThreadPoolExecutor(goals) as pool:
        spread(goals, seconds, lambda _: took.append(pool.submit(one)))
        return [future.result() for future in took]


if __name__ == "__main__":
    settings = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    with ConnectionPool(
        os.environ["DATABASE_URL"], min_size=1, max_size=12, timeout=120, kwargs=settings
    ) as connections:
        saver = PostgresSaver(connections)
        if os.environ.get("MIGRATE"):
            saver.setup()
        serve(run, marks)

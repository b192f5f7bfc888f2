"""What every system under test shares: what a step does (a mark, and perhaps a model call), and how it is asked.

Standard library and httpx only: our own worker uses the marks as well.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True, slots=True)
class Shape:
    """`steps` one after another, or at once between a plan and a review (`fan`). `call`: ms that the model takes, None: no call."""

    steps: int
    fan: bool = False
    call: int | None = None

    def as_json(self) -> dict[str, Any]:
        return {"steps": self.steps, "fan": self.fan, "call": self.call}


class Marks:
    """When each step began (the machine's monotonic clock), and how long the model server itself took for its call."""

    def __init__(self, path: str = "") -> None:
        """`path`: append to this file, for workers that have no other way to say it; else they are kept in memory."""
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644) if path else -1
        self.all: list[tuple[str, int, float, float]] = []

    def add(self, goal: str, index: int, began: float, served: float) -> None:
        mark = (goal, index, began, served)
        if self._fd >= 0:
            os.write(self._fd, (json.dumps(mark) + "\n").encode())
        else:
            self.all.append(mark)

    def take(self) -> list[tuple[str, int, float, float]]:
        taken, self.all = self.all, []
        return taken


_local = threading.local()


def ask_model(call: int, prompt: str) -> float:
    """One chat completion by a client of this thread's own; the seconds that the server itself took."""
    if not hasattr(_local, "client"):
        _local.client = httpx.Client(timeout=60)
    answer = _local.client.post(
        f"{os.environ['MODEL_URL']}/{call}/v1/chat/completions",
        json={"model": "bench", "messages": [{"role": "user", "content": prompt}]},
    )
    return float(answer.json()["choices"][0]["message"]["content"])


def do_step(marks: Marks, goal: str, index: int, call: int | None) -> None:
    """The work of a step: nothing, or one model call."""
    began = time.monotonic()
    served = ask_model(call, f"step {index} of {goal}") if call is not None else 0.0
    marks.add(goal, index, began, served)


def spread(number: int, seconds: float, start: Callable[[int], None]) -> None:
    """Start so many things evenly over `seconds`."""
    began = time.monotonic()
    for n in range(number):
        wait = began + n * seconds / number - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        start(n)


def serve(run: Callable[[Shape, int, float], list[float]], marks: Marks) -> None:
    """Answer questions on stdin, one JSON line each, until it is closed; `run` returns how long each goal took."""
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        shape = Shape(**asked["shape"])
        began = time.monotonic()
        goals = run(shape, asked["goals"], asked["spread"])
        took = time.monotonic() - began
        print(json.dumps({"seconds": took, "goals": goals, "marks": marks.take()}), flush=True)

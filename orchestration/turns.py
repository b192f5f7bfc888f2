"""Whose turn it is: when a thread that goes on with one goal, run after run, lets others come first."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from .selectors import waiting_goals

TURN = 1.0  # seconds that a thread has for a goal, however many runs that are
MOST_TEAMS = 8  # remembered to have had a turn; of more, the oldest comes first again
LOOK_AGAIN = 0.2  # seconds between two looks at a queue, for all threads of a process


def gives_way(seconds: float, *, all_busy: bool, others_wait: Callable[[], bool]) -> bool:
    """After `seconds` with the same goal. While a thread is free, whoever waits is served by that one, at no cost for this goal.

    Each run less that is gone on with is one more that is published, delivered and claimed: a quarter of a worker's CPU, measured.
    """
    return seconds >= TURN and all_busy and others_wait()


class Turn:
    """A thread's time with one goal, from now on."""

    def __init__(self) -> None:
        self.given_up = False
        self._since = time.monotonic()

    def is_over(self, *, all_busy: bool, others_wait: Callable[[], bool]) -> bool:
        seconds = time.monotonic() - self._since
        self.given_up = gives_way(seconds, all_busy=all_busy, others_wait=others_wait)
        return self.given_up


class Served:
    """The teams that this process gave a turn, the latest last: others come first. A hint, and no row: claims cost no more."""

    def __init__(self) -> None:
        self._teams: OrderedDict[Any, None] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, team: Any) -> None:
        with self._lock:
            self._teams[team] = None
            self._teams.move_to_end(team)
            while len(self._teams) > MOST_TEAMS:
                self._teams.popitem(last=False)

    @property
    def teams(self) -> list[Any]:
        with self._lock:
            return list(self._teams)


class Waiting:
    """Which goals have waited too long on these queues: a hint, so it may be a moment old."""

    def __init__(self, queues: Sequence[str], ask: Callable[[Sequence[str]], set[Any]] = waiting_goals) -> None:
        self._queues, self._ask = queues, ask
        self._asked_at = float("-inf")
        self._goals: set[Any] = set()

    def others(self, goal: Any) -> bool:
        """Is there another goal than this among them?"""
        if time.monotonic() - self._asked_at > LOOK_AGAIN:
            self._asked_at = time.monotonic()
            self._goals = self._ask(self._queues)
        return bool(self._goals - {goal})

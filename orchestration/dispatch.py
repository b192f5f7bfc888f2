"""Run kind → (task name, queue), and how a worker is told to look. A message may be lost, late or doubled: rows are the truth.

`wake` hands to the process's publisher: `Later(publish_now)` in a worker and in a web process, `publish_briefly` in a command,
`publish_nothing` in tests. `ring` tells open pages, likewise. It knows no task module: a task is found by its name.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from celery import current_app
from django.conf import settings
from django.db import connection

from .states import QUEUE_OF, RunKind

log = logging.getLogger(__name__)
TASK_OF = {
    RunKind.PLAN: "plan_task",
    RunKind.STEP: "execute_step",
    RunKind.REVIEW: "review_result",
    RunKind.EXAM: "review_result",
    RunKind.JUDGE: "review_result",
}
BY_HAND = frozenset({*TASK_OF.values(), "sweep", "submit_due_goals"})  # what our queues may hold beside run ids
COMMAND_WAITS = 0.3  # seconds that a person's command waits for Redis at most
LEAVE_ALONE = 15.0  # seconds that nothing is published after a failure

_quiet_until = 0.0

Wanted = Sequence[tuple[str, str]]  # (run id, run kind)
Publisher = Callable[[Wanted], None]


def publish_nothing(wanted: Wanted) -> None:
    """Nobody is woken: the housekeeper finds the runs."""


def publish_now(wanted: Wanted) -> None:
    """Publish in this thread; a broker that is away is not our problem, the housekeeper's claims are the way without it.

    Finding that out takes seconds (6, measured): for a thread that does nothing else, and afterwards it is left alone for a while.
    """
    global _quiet_until
    if time.monotonic() < _quiet_until:
        return
    if publish(wanted) < len(wanted):
        _quiet_until = time.monotonic() + LEAVE_ALONE


def publish(wanted: Wanted) -> int:
    """A message for each, in this thread, until one fails; how many went out."""
    for done, (run_id, kind) in enumerate(wanted):
        try:
            current_app.send_task(
                TASK_OF[RunKind(kind)],
                kwargs={"run_id": run_id},
                task_id=run_id,
                queue=QUEUE_OF[RunKind(kind)].value,
                ignore_result=not settings.STORE_RESULTS,
                retry=False,
            )
        except Exception as error:  # noqa: BLE001 - kombu, redis and socket errors alike: nothing depends on the message
            log.warning("no worker could be woken for %s run %s: %s", kind, run_id[:8], type(error).__name__)
            return done
    return len(wanted)


def publish_briefly(wanted: Wanted) -> None:
    """Publish in a thread and wait a moment, so that a command answers at once also when Redis is away."""
    thread = threading.Thread(target=publish_now, args=(wanted,), daemon=True, name="publisher")
    thread.start()
    thread.join(COMMAND_WAITS)


T = TypeVar("T")


class Later(Generic[T]):
    """Hands items to `handle` in a daemon thread of its own and returns at once; what does not fit is dropped.

    For what may be lost: neither a request nor a run's thread ever waits for Redis, whether that is away or frozen.
    """

    def __init__(self, handle: Callable[[T], None], name: str, room: int = 1000) -> None:
        self._handle, self._name = handle, name
        self._items: queue.Queue[T] = queue.Queue(room)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def __call__(self, item: T) -> None:
        with suppress(queue.Full):
            self._items.put_nowait(item)
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, daemon=True, name=self._name)
                self._thread.start()

    def _run(self) -> None:
        while True:
            item = self._items.get()
            try:
                self._handle(item)
            except Exception:
                log.warning("%s failed; it goes on", self._name, exc_info=True)
            finally:
                if self._items.empty():
                    connection.close()


def _ring_nobody(goal_id: str) -> None:
    """No page is told: it looks every two seconds by itself."""


_publisher: Publisher = publish_briefly
_ringer: Callable[[str], None] = _ring_nobody


def use(publisher: Publisher, ringer: Callable[[str], None] = _ring_nobody) -> None:
    """Choose this process's publisher and bell (the composition root does it)."""
    global _publisher, _ringer
    _publisher, _ringer = publisher, ringer


def wake(wanted: Wanted) -> None:
    """Called after the commit that made the runs."""
    _publisher(wanted)


def ring(goal_id: str) -> None:
    """Called after a commit that wrote events of this goal."""
    _ringer(goal_id)

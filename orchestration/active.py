"""The runs that this process works on now: how its heartbeat and its shutdown reach a thread that is deep in a call."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from agents.errors import AgentError, Cancelled, Fenced

from .models import Run
from .retry import RISKY_LOSSES

log = logging.getLogger(__name__)
FENCED = "it belongs to somebody else by now"


@dataclass
class ActiveRun:
    """One claimed run. `alive_until` (monotonic seconds) is the last good heartbeat plus two thirds of a lease.

    `worker`: who may go on with another run of the same goal; empty if nobody may. `gives_way`: must it let others come first?
    """

    run: Run
    alive_until: float
    worker: str = ""
    gives_way: Callable[[], bool] = bool
    stop_reason: str = ""
    sandboxes: int = 0  # opened, and not known to be gone
    _closers: list[Callable[[], None]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def successor(self) -> str:
        """Asked when the run is recorded: a worker that was told to stop meanwhile claims nothing more."""
        if not self.worker or self.stop_reason or self.gives_way():
            return ""
        return self.worker

    def check(self) -> None:
        """Called before each call: raises when nothing more may be begun."""
        if self.stop_reason:
            raise self.stopped()
        if time.monotonic() > self.alive_until:
            raise Fenced("no heartbeat has succeeded for two thirds of the lease: somebody else may own the run by now")

    def stopped(self) -> AgentError:
        """The exception that says why the run was told to stop."""
        return Fenced(self.stop_reason) if self.stop_reason == FENCED else Cancelled(self.stop_reason)

    @contextmanager
    def closing(self, closer: Callable[[], None]) -> Iterator[None]:
        """While this lasts, `stop` calls `closer` from its own thread: it ends a model request or a sandbox at once."""
        with self._lock:
            self._closers.append(closer)
            late = bool(self.stop_reason)
        if late:
            closer()
        try:
            yield
        finally:
            with self._lock:
                self._closers.remove(closer)

    def stop(self, reason: str, *, now: bool = True) -> None:
        """Begin nothing more; with `now`, end what is in flight too."""
        with self._lock:
            self.stop_reason = self.stop_reason or reason
            closers = list(self._closers) if now else []
        # each in a thread: a sandbox takes its time, and the heartbeat of other runs must not wait for it
        for closer in closers:
            threading.Thread(target=_close, args=(closer, self.run), daemon=True, name="closer").start()


def _close(closer: Callable[[], None], run: Run) -> None:
    try:
        closer()
    except Exception:
        log.exception("%s was told to stop, and something of it could not be closed", run)


def is_risky(run: Run) -> bool:
    """It has cost two workers already, so it may be what kills them."""
    return run.losses >= RISKY_LOSSES


class ActiveRuns:
    """All of them, with the number of threads as their limit."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._runs: dict[tuple[str, int], ActiveRun] = {}  # by claim: a lost run may come back to the same process
        self._lock = threading.Lock()
        self._reserved = 0
        self._survived = 0  # risky runs that have ended without taking this process with them
        self.draining = False

    def reserve(self) -> bool:
        """A free slot for a run that is about to be claimed; False when all are taken or the process drains."""
        with self._lock:
            if self.draining or self._reserved >= self.slots:
                return False
            self._reserved += 1
            return True

    def release(self) -> None:
        with self._lock:
            self._reserved -= 1

    @contextmanager
    def working(
        self, run: Run, alive_for: float, successor: str = "", gives_way: Callable[[], bool] = bool
    ) -> Iterator[ActiveRun]:
        active, claim = ActiveRun(run, time.monotonic() + alive_for, successor, gives_way), (str(run.pk), run.fence)
        with self._lock:
            self._runs[claim] = active
        if self.draining:
            active.stop("the worker is stopping")
        try:
            yield active
        finally:
            with self._lock:
                del self._runs[claim]
                self._survived += is_risky(run)

    def all(self) -> list[ActiveRun]:
        with self._lock:
            return list(self._runs.values())

    @property
    def full(self) -> bool:
        """Are all threads taken?"""
        return self._reserved >= self.slots

    @property
    def busy(self) -> bool:
        """Is any thread claiming or working?"""
        with self._lock:
            return self._reserved > 0

    @property
    def risky(self) -> bool:
        """Does this process work on as many runs that have cost two workers already as it dares to?

        One at first, and one more for each that it has outlived: where machines died, and not the runs killed them, all of them are
        soon at work again; one that does kill its worker still takes few others along.
        """
        return sum(is_risky(active.run) for active in self.all()) > self._survived

    def drain(self, *, now: bool) -> None:
        """Take nothing more; runs stop at their next safe point, or at once."""
        self.draining = True
        for active in self.all():
            active.stop("the worker is stopping", now=now)

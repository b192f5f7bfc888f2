"""What a worker process does: it claims runs, performs them, gives them back, and keeps two plain threads.

`heartbeat` extends the leases of this process's runs and tells those that were cancelled; `housekeeper` sweeps in turn with the other
processes, and claims queued runs directly when threads idle (so nothing waits for a lost message, or for a Redis that is away).
"""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from django.conf import settings

from agents.errors import AgentError

from . import services, turns
from .active import FENCED, ActiveRun, ActiveRuns
from .equipment import broken_tools, dependencies, make_tools, name_of_sandbox
from .journal import release_connection
from .models import Run
from .runs.bench import Tools
from .runs.envelope import perform
from .schema import schema_problem
from .services.heartbeats import beat, let_go, say_hello, take_leave

log = logging.getLogger(__name__)
SWEEP_SANDBOXES = 60.0  # seconds between two looks for the sandboxes of killed workers


class Worker:
    """What this process works with: its name, its tools, its active runs."""

    def __init__(self, queues: Sequence[str], threads: int) -> None:
        self.name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}"
        self.queues = tuple(queues)
        self.active = ActiveRuns(threads)
        self.alive_for = settings.LEASE_SECONDS * 2 / 3
        self._free: deque[tuple[str, int]] = deque()  # claims whose sandboxes are gone, and nobody was told
        self._waiting = turns.Waiting(self.queues)
        self._served = turns.Served()
        self._ended = threading.Event()
        self._swept_at = 0.0
        self._own = ThreadPoolExecutor(threads, thread_name_prefix="claimed")
        self._tools: Tools | None = None
        self._needs: tuple[str, ...] = ()
        self._lock = threading.Lock()

    @property
    def tools(self) -> Tools:
        """Made at the first use, so that a worker without a model can start and say what is missing, run by run."""
        with self._lock:
            if self._tools is None:
                self._tools = make_tools(self.name)
            return self._tools

    @property
    def needs(self) -> tuple[str, ...]:
        """What an outage of would stop its runs."""
        return self._needs if self._tools is None else self._tools.needs

    @property
    def draining(self) -> bool:
        return self.active.draining

    # ---- the work

    def work(self, run_id: str, queue: str = "") -> None:
        """A message named this run: claim it and go on for as long as there is work on its queue. Returns at once if not to be had.

        `queue`: the message only says that there is work on it, and whose turn it is comes first: messages come in the order in which
        they were sent, which would be the order of whoever sends the most.
        """
        if not _is_id(run_id):
            log.warning("a message names no run")
            return
        if not self.active.reserve():
            return
        try:
            risky, needs = not self.active.risky, self.needs
            run = self._pull([queue]) if queue else services.claim(run_id, self.name, risky=risky, needs=needs)
            run = run or services.probe(self.queues, self.name, needs, risky=risky)
            release_connection()
            self._go_on(run)
        finally:
            self.active.release()

    def _go_on(self, run: Run | None) -> None:
        turn = turns.Turn()
        while run is not None:
            queue = run.queue
            run = self._perform(run, turn)
            if run is None and not self.active.draining:
                # whoever was given way to may wait on any queue; else this thread stays with what it was woken for
                queues = self.queues if turn.given_up else [queue]
                run = self._pull(queues)
                release_connection()
                turn = turns.Turn()
        self._tell_what_is_free()

    def _pull(self, queues: Sequence[str]) -> Run | None:
        """The best run of these queues; its team has had its turn then."""
        risky = not self.active.risky
        run = services.pull(queues, self.name, risky=risky, needs=self.needs, served=self._served.teams)
        if run is not None:
            self._served.note(run.goal.team_id)
        return run

    def _perform(self, run: Run, turn: turns.Turn) -> Run | None:
        def gives_way() -> bool:
            return turn.is_over(all_busy=self.active.full, others_wait=partial(self._waiting.others, run.goal_id))

        with self.active.working(run, self.alive_for, self.name, gives_way) as active:
            try:
                tools = self.tools
            except AgentError as error:
                tools = broken_tools(self.name, error)
            after = perform(tools, active)
        if not active.sandboxes:
            self._free.append((str(run.pk), run.fence))
        return after

    def _tell_what_is_free(self) -> None:
        """That the sandboxes of ended runs are gone: by a thread that has nothing else to do, or by the heartbeat for many at once."""
        claims: list[tuple[str, int]] = []
        with suppress(IndexError):  # other threads add and take meanwhile
            while True:
                claims.append(self._free.popleft())
        if not claims:
            return
        try:
            let_go(self.name, claims)
        except Exception:
            self._free.extend(claims)
            log.warning(
                "%d sandboxes are gone, and the database could not be told; it is tried again",
                len(claims),
                exc_info=True,
            )
        finally:
            release_connection()

    def claim_idle(self) -> int:
        """Queued runs for threads that have nothing to do; how many were begun."""
        begun = 0
        while self.active.reserve():
            if not self._begin_idle():
                self.active.release()
                break
            begun += 1
        release_connection()
        return begun

    def _begin_idle(self) -> bool:
        """Claim one run for a thread of our own; whatever goes wrong here, the caller's slot is free again."""
        try:
            risky, needs = not self.active.risky, self.needs
            run = self._pull(self.queues)
            run = run or services.probe(self.queues, self.name, needs, risky=risky)
            if run is not None:
                self._own.submit(self._work_claimed, run)
        except BaseException:
            self.active.release()
            raise
        return run is not None

    def _work_claimed(self, run: Run) -> None:
        try:
            self._go_on(run)
        except Exception:
            log.exception("%s: the thread that worked it broke", run)
        finally:
            self.active.release()

    # ---- the threads

    def start(self) -> None:
        """Say hello and start the two threads."""
        sandbox, model = name_of_sandbox(), settings.LLM_ENVIRONMENT["LLM_MODEL"]
        self._needs = dependencies()
        say_hello(self.name, self.queues, self.active.slots, sandbox, model, self._needs)
        release_connection()
        self.keep_alive()
        # the first look is at once: what was queued while no worker ran has no message
        self._repeat(self._housekeep, settings.HOUSEKEEPER_SECONDS, first_after=0)
        log.info("worker %s: sandbox %s, model %s", self.name, sandbox, model or "(none)")
        log.info("worker %s: housekeeper and heartbeat run", self.name)

    def keep_alive(self) -> None:
        """Start the heartbeat alone: enough for a process that works only what it is called with."""
        self._repeat(self._heartbeat, settings.LEASE_SECONDS / 6)

    def _repeat(self, job: Callable[[], None], seconds: float, first_after: float | None = None) -> None:
        first = seconds if first_after is None else first_after
        threading.Thread(
            target=self._every, args=(first, seconds, job), daemon=True, name=job.__name__.strip("_")
        ).start()

    def _every(self, first: float, seconds: float, job: Callable[[], None]) -> None:
        wait = first
        while not self._ended.wait(wait):
            wait = seconds
            try:
                job()
            except Exception:
                log.warning("%s failed; it goes on", job.__name__, exc_info=True)
            finally:
                release_connection()

    def _heartbeat(self) -> None:
        """One statement extends all leases; what it does not return is not ours any more."""
        begun = time.monotonic()
        worked = self.active.all()
        states = beat(self.name, {str(active.run.pk) for active in worked})
        for active in worked:
            self._tell(active, states.get((str(active.run.pk), active.run.fence)), begun)
        self._tell_what_is_free()

    def _tell(self, active: ActiveRun, wanted: str | None, begun: float) -> None:
        if wanted is None:
            # the run may just have been recorded; if it was taken away, nothing that it still does counts
            if not services.still_mine(active.run):
                active.stop(FENCED)
        elif wanted:
            active.stop(wanted)
        else:
            active.alive_until = begun + self.alive_for

    def _housekeep(self) -> None:
        if not self.active.draining and (problem := schema_problem()):
            log.error("worker %s leaves: %s", self.name, problem)
            os.kill(os.getpid(), signal.SIGTERM)  # Celery's own way out, with the drain
            return
        if services.take_turn("housekeeper", self.name, settings.HOUSEKEEPER_SECONDS * 2):
            services.sweep()
        if self._tools is not None and self._sweep_is_due():
            # a thread of its own: a remote service may take its time
            threading.Thread(target=self._tools.provider.sweep, daemon=True, name="sweep sandboxes").start()
        if not self.active.draining:
            self.claim_idle()

    def _sweep_is_due(self) -> bool:
        """By one process in turn of those that share a folder."""
        if time.monotonic() - self._swept_at < SWEEP_SANDBOXES:
            return False
        self._swept_at = time.monotonic()
        folder = hashlib.sha256(str(settings.WORKSPACES_DIR).encode()).hexdigest()[:8]
        return services.take_turn(f"sandboxes {folder} of {socket.gethostname()}"[:60], self.name, SWEEP_SANDBOXES)

    def drain(self) -> None:
        """SIGTERM: take nothing more, wait for the calls in flight, then abort them. Every run is given back: no attempt, no loss.

        A thread that cannot be stopped (it waits for a lock of the kernel, say) is left behind; its run is not.
        """
        self.active.drain(now=False)
        self._wait_for_threads(settings.DRAIN_SECONDS)
        self.active.drain(now=True)
        self._wait_for_threads(settings.DRAIN_SECONDS / 2)
        for left in self.active.all():
            self._give_back(left.run)
        self._ended.set()
        take_leave(self.name)
        release_connection()

    def _give_back(self, run: Run) -> None:
        log.warning("%s: its thread does not stop; the run is given back without it", run)
        try:
            services.stand_down(run, "the worker is stopping")
        except Exception:
            log.exception("%s could not be given back; its lease will expire", run)

    def _wait_for_threads(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while self.active.busy and time.monotonic() < ends:
            time.sleep(0.05)


def _is_id(value: object) -> bool:
    """Messages are input: anybody may have written them."""
    try:
        return isinstance(value, str) and len(value) <= 36 and bool(uuid.UUID(value))
    except ValueError:
        return False

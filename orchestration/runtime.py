"""The composition root of a worker process: settings → LLM, sandbox, publisher; and its two plain threads.

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
from functools import cache, partial
from pathlib import Path

from celery.signals import celeryd_after_setup, worker_shutting_down
from celery.worker.control import Panel
from django.conf import settings

from agents.errors import AgentError
from agents.llm import registry as models
from agents.llm.openai_compatible import OpenAICompatibleLLM
from agents.ports import SandboxProvider
from agents.sandbox import registry as sandboxes

from . import dispatch, live, llms, services, turns
from .active import FENCED, ActiveRun, ActiveRuns
from .broker import installation_id, require_own_broker, stop_with
from .errors import BadInput
from .journal import release_connection
from .models import Run
from .runs.bench import Tools
from .runs.envelope import perform
from .schema import schema_problem
from .services.heartbeats import beat, let_go, say_hello, take_leave
from .states import QUEUE_OF, Queue

log = logging.getLogger(__name__)
SWEEP_SANDBOXES = 60.0  # seconds between two looks for the sandboxes of killed workers
CELERY_STOPS = (
    5.0  # seconds that Celery's own shutdown may take after the drain: a broker that is silent would hold it for ever
)


class Worker:
    """What this process works with: its name, its tools, its active runs."""

    def __init__(self, queues: Sequence[str], threads: int) -> None:
        self.name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}"
        self.queues = tuple(queues)
        self.active = ActiveRuns(threads)
        self.alive_for = settings.LEASE_SECONDS * 2 / 3
        self._free: deque[tuple[str, int]] = deque()  # claims whose sandboxes are gone, and nobody was told
        self._waiting = turns.Waiting(self.queues)
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

    def work(self, run_id: str) -> None:
        """A message named this run: claim it and go on for as long as there is work on its queue. Returns at once if not to be had."""
        if not _is_id(run_id):
            log.warning("a message names no run")
            return
        if not self.active.reserve():
            return
        try:
            risky, needs = not self.active.risky, self.needs
            run = services.claim(run_id, self.name, risky=risky, needs=needs)
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
                run = services.pull(queues, self.name, risky=not self.active.risky, needs=self.needs)
                release_connection()
                turn = turns.Turn()
        self._tell_what_is_free()

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
            run = services.pull(self.queues, self.name, risky=risky, needs=needs)
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


# ---- making one


_worker: Worker | None = None


def worker() -> Worker:
    """This process's worker; one that was not started as such (a task is called in a person's own process) has a heartbeat only."""
    global _worker
    if _worker is None:
        _worker = Worker(Queue.values, settings.CELERY_WORKER_CONCURRENCY)
        _worker.keep_alive()
    return _worker


def make_tools(name: str) -> Tools:
    """The model and the sandbox that the settings name. Raises Permanent with what to do."""
    return Tools(name, sandbox_provider(), make_llm, tool_calls=settings.LLM_TOOL_CALLS and _calls_tools())


def _calls_tools() -> bool:
    """As a trial has shown (`manage.py check_llm`), which is also where the client learns how to ask; without one it may."""
    try:
        known = llms.remembered(make_llm())
    except AgentError:
        return True  # each run says what is missing
    finally:
        release_connection()
    return known is None or known.tool_calls


def dependencies() -> tuple[str, ...]:
    """What the settings make this process depend on, without making it fail: whatever is missing is said run by run."""
    try:
        return make_tools("").needs
    except AgentError:
        return ()


def broken_tools(name: str, error: AgentError) -> Tools:
    """Tools that say at their first use why they are not there: the run's row then holds the remedy."""

    class Missing:
        layers: tuple[str, ...] = ()
        scratch = Path(os.devnull)
        dependency = ""

        def __init__(self) -> None:
            self.name = "none"

        def open(self, spec: object) -> object:
            raise error

        def sweep(self) -> int:
            return 0

    return Tools(name, Missing(), make_llm)  # type: ignore[arg-type]


def make_llm() -> OpenAICompatibleLLM:
    """A model client for one run."""
    return models.from_environment(settings.LLM_ENVIRONMENT)


@cache
def sandbox_provider() -> SandboxProvider:
    """The service that is set, or the first local provider that passes a real trial here."""
    return sandboxes.choose(
        settings.SANDBOX,
        root=settings.WORKSPACES_DIR,
        parallel=settings.SANDBOX_PARALLEL or None,
        remote=settings.SANDBOX_ENVIRONMENT,
        installation=installation_id().hex[:12],
    )


def refuse_bad_settings() -> None:
    """Raises BadInput with the name of a setting of the model or the sandbox that cannot be. What is not set may come later."""
    try:
        models.check(settings.LLM_ENVIRONMENT)
        sandboxes.check(settings.SANDBOX, settings.SANDBOX_ENVIRONMENT)
    except AgentError as error:
        raise BadInput(str(error)) from error


def start_web() -> None:
    """A web process: no request waits for Redis."""
    _publish_in_threads_of_their_own()


def _publish_in_threads_of_their_own() -> None:
    """A Redis that is frozen takes a publish's five seconds from nobody who has something to do."""
    dispatch.use(dispatch.Later(dispatch.publish_now, "publisher"), dispatch.Later(live.ring, "bell"))


def name_of_sandbox() -> str:
    """Which one this process uses, for people; "none" where none can start (each run then says why)."""
    try:
        return sandbox_provider().name
    except AgentError as error:
        log.warning("%s", error)
        return "none"


@celeryd_after_setup.connect
def start_worker(sender: str, instance: object, **_: object) -> None:
    """Celery has read its settings and queues: check that broker and database belong together, then start our threads."""
    global _worker
    try:
        refuse_bad_settings()
    except BadInput as error:
        stop_with(str(error))
    if problem := schema_problem():
        stop_with(problem)
    require_own_broker()
    _answer_questions_only()
    queues = [name for name in instance.app.amqp.queues.consume_from if name in Queue.values]  # type: ignore[attr-defined]
    threads = int(instance.concurrency or settings.CELERY_WORKER_CONCURRENCY)  # type: ignore[attr-defined]
    _worker = Worker(queues or list(QUEUE_OF.values()), threads)
    _publish_in_threads_of_their_own()
    with suppress(AgentError):  # where there is no folder for sandboxes, `start` says so
        sandboxes.sweep(settings.WORKSPACES_DIR)
    _worker.start()


QUESTIONS = frozenset({"ping", "stats", "conf", "clock", "report", "active", "reserved", "scheduled", "revoked"})
QUESTIONS |= {"registered", "active_queues", "query_task", "dump_active", "dump_reserved", "dump_schedule"}


def _answer_questions_only() -> None:
    """Celery's remote control lets anybody who can write to Redis end a worker, shrink it, or make it import a module: a worker
    answers what Flower and `celery inspect` ask, and obeys nobody but its signals.
    """
    for name in set(Panel.data) - QUESTIONS:
        del Panel.data[name]


@worker_shutting_down.connect
def stop_worker(sig: str = "", **_: object) -> None:
    """The signal handler must return at once; the drain is a thread that Celery's own shutdown waits for through its pool."""
    if _worker is not None:
        threading.Thread(target=_drain_and_leave, args=(_worker,), name="drain").start()


def _drain_and_leave(worker: Worker) -> None:
    """The process ends in time, whatever a thread or Celery's own shutdown may wait for: nothing is in its hands any more."""
    try:
        worker.drain()
    finally:
        threading.main_thread().join(CELERY_STOPS)
        if threading.main_thread().is_alive():
            log.warning("worker %s: its shutdown hangs; it is ended", worker.name)
            logging.shutdown()
            os._exit(0)

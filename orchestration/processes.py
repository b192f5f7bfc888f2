"""A process begins and ends: Celery's worker (its signals, its drain) and the web's."""

from __future__ import annotations

import logging
import os
import threading
from contextlib import suppress

from celery.signals import celeryd_after_setup, worker_shutting_down
from celery.worker.control import Panel
from django.conf import settings

from agents.errors import AgentError
from agents.sandbox import registry as sandboxes

from . import dispatch, live
from .broker import require_own_broker, stop_with
from .equipment import refuse_bad_settings
from .errors import BadInput
from .runtime import Worker
from .schema import schema_problem
from .states import QUEUE_OF, Queue

log = logging.getLogger(__name__)
CELERY_STOPS = (
    5.0  # seconds that Celery's own shutdown may take after the drain: a broker that is silent would hold it for ever
)

_worker: Worker | None = None


def worker() -> Worker:
    """This process's worker; one that was not started as such (a task is called in a person's own process) has a heartbeat only."""
    global _worker
    if _worker is None:
        _worker = Worker(Queue.values, settings.CELERY_WORKER_CONCURRENCY)
        _worker.keep_alive()
    return _worker


def start_web() -> None:
    """A web process: no request waits for Redis."""
    _publish_in_threads_of_their_own()


def _publish_in_threads_of_their_own() -> None:
    """A Redis that is frozen takes a publish's five seconds from nobody who has something to do."""
    dispatch.use(dispatch.Later(dispatch.publish_now, "publisher"), dispatch.Later(live.ring, "bell"))


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

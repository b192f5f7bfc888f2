"""One machine's installation in one go: database tables, a Redis of its own unless REDIS_URL names one, and a worker."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from django.conf import settings
from django.core.management import call_command

from .broker import where
from .children import WORKER, NotStarted, child
from .redis_server import RedisServer

Say = Callable[[str], object]


def run(say: Say) -> int:
    """Start everything and stay until the worker ends or somebody interrupts; the exit code."""
    with ExitStack() as stack:
        stack.enter_context(_alone())
        call_command("migrate", verbosity=0)
        env = dict(os.environ)
        if settings.OWN_REDIS:
            url = stack.enter_context(_own_redis())
            env |= {"REDIS_URL": url, "CELERY_BROKER_URL": url}
        log = Path(settings.DATA_DIR) / "worker.log"
        say("Starting Redis and a worker …")
        ready = lambda: " ready." in log.read_text(errors="replace")  # noqa: E731
        worker = stack.enter_context(child("worker", WORKER, ready, env=env, folder=settings.BASE_DIR, log=log))
        say(
            f"Ready: Redis at {where(env.get('REDIS_URL') or settings.REDIS_URL)}, worker's log {log}. Ctrl-C stops both."
        )
        say('Now, in another terminal: manage.py goal submit "…" --repo . --watch')
        while worker.poll() is None:
            time.sleep(0.3)
        raise NotStarted(f"the worker has ended by itself (exit code {worker.returncode}); see {log}")


@contextmanager
def _alone() -> Iterator[None]:
    folder = Path(settings.DATA_DIR)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise NotStarted(
                f"it runs already in {folder} (one is enough; another worker: celery {' '.join(WORKER[3:])})"
            ) from None
        yield


@contextmanager
def _own_redis() -> Iterator[str]:
    """Its address is left in a file, where all other processes of this installation find it (settings.REDIS_URL)."""
    address = Path(settings.OWN_REDIS_FILE)
    with RedisServer(Path(settings.DATA_DIR) / "redis") as redis:
        address.write_text(redis.url)
        try:
            yield redis.url
        finally:
            address.unlink(missing_ok=True)

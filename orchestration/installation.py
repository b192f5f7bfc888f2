"""One machine's whole installation: Redis and tables, then worker, beat and panel side by side; watched until somebody stops it."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import signal
import socket
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TextIO

from django.conf import settings
from django.db import connections
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from . import services
from .broker import where
from .children import WORKER, NotStarted
from .listening import listen, url_of
from .models import Worker
from .redis_server import free_port, is_ours, redis_argv
from .supervisor import Part, Process, Supervisor
from .warm import warm_up

MIGRATE = (sys.executable, "-m", "django", "migrate", "--verbosity", "0")
BEAT = (sys.executable, "-m", "compymac_site", "beat", "--loglevel=info")
WEB = (
    *(sys.executable, "-m", "uvicorn", "compymac_site.asgi:application"),
    # an open live stream must not keep the server for ever; and an access log would hold the tokens of login links
    *("--timeout-graceful-shutdown", "3", "--no-access-log", "--fd"),
)
FLOWER = (sys.executable, "-m", "celery", "-A", "compymac_site", "flower", "--address=127.0.0.1")
FLOWER_PORT = 5555
NO_FLOWER = "Flower is not installed: .venv/bin/python -m pip install 'flower~=2.0', then start with --flower again"
FIRST, SECOND, LAST = 0, 1, 2  # who stops when: what gives work, who works, what carries messages
DRAIN_SECONDS = 2.0  # so that Ctrl-C ends everything in less than ten


def run(out: TextIO, *, colour: bool, flower: bool) -> None:
    """Start everything, say where it is, and stay. Raises NotStarted with the reason when a part does not start or has ended."""
    if flower and importlib.util.find_spec("flower") is None:
        raise NotStarted(NO_FLOWER)
    with ExitStack() as stack:
        # first of all, while no thread runs and nothing is open
        spare = stack.enter_context(warm_up(len(("migrate", "worker", "beat", "web"))))
        stack.enter_context(_alone())
        web = stack.enter_context(listen(settings.HOST, settings.PORT))
        own = url_of(settings.HOST, web.getsockname()[1])
        stack.enter_context(_left_in(settings.OWN_ADDRESS_FILE, own))
        env = {**os.environ, "DRAIN_SECONDS": os.environ.get("DRAIN_SECONDS", str(DRAIN_SECONDS))}
        logs = Path(settings.DATA_DIR) / "logs"
        parts = stack.enter_context(Supervisor(out, logs, settings.BASE_DIR, env, colour, spare))
        notes = [_redis(parts, stack), *_taken(web)]
        parts.run(Part("migrate", MIGRATE, lambda _: True))
        begun = timezone.now()
        parts.start(
            Part("worker", quiet(WORKER), _worker_is_ready, stops=SECOND),
            Part("beat", quiet(BEAT), lambda _: _beat_ticks_since(begun)),
            Part("web", WEB, lambda _: _answers(f"{own}/healthz"), listens=web.fileno()),
        )
        web.close()  # from here on it is the server's alone: where that ends, nobody waits at a dead door
        if flower:
            notes.append(_flower(parts))
        for line in _box(os.environ.get("BASE_URL") or own, notes):
            parts.show("", line)
        parts.watch()


# ---- its parts


def quiet(argv: Sequence[str]) -> list[str]:
    """A command of Celery's without its banner."""
    return [*argv[:3], "--quiet", *argv[3:]]


def _redis(parts: Supervisor, stack: ExitStack) -> str:
    """Our own, unless the settings name one; its address is left where all processes of this installation find it."""
    if not settings.OWN_REDIS:
        return f"Redis      {where(settings.REDIS_URL)} (REDIS_URL; not started here)"
    folder = Path(settings.DATA_DIR) / "redis"
    folder.mkdir(parents=True, exist_ok=True)
    for left in reversed(range(5)):
        port = free_port()
        try:
            # killed with us: another Redis may soon write to the same files
            argv, ready = redis_argv(folder, port), lambda _, port=port: is_ours(folder, port)
            parts.start(Part("redis", argv, ready, stops=LAST, orphaned=signal.SIGKILL))
            break
        except NotStarted:
            if not left:
                raise
    url = f"redis://127.0.0.1:{port}/0"
    stack.enter_context(_left_in(settings.OWN_REDIS_FILE, url))
    parts.env |= {"REDIS_URL": url, "CELERY_BROKER_URL": url}
    return f"Redis      {where(url)}"


def _flower(parts: Supervisor) -> str:
    with listen("127.0.0.1", FLOWER_PORT) as free:
        port = free.getsockname()[1]
    # it has no login of its own, and listens on loopback only: its API may answer there
    parts.env["FLOWER_UNAUTHENTICATED_API"] = "true"
    url = url_of("127.0.0.1", port)
    parts.start(Part("flower", (*FLOWER, f"--port={port}"), lambda _: _answers(f"{url}/healthcheck")))
    return f"Flower     {url} (for this machine only: it has no login)"


# ---- are they ready


def _worker_is_ready(process: Process) -> bool:
    """It says so itself, once broker and database fit and its two threads run."""
    return _asked(lambda: Worker.objects.filter(pk__startswith=f"{socket.gethostname()}:{process.pid}:").exists())


def _beat_ticks_since(begun: object) -> bool:
    """A new scheduler writes its ticks into the database before it sends the first."""
    return _asked(lambda: PeriodicTask.objects.filter(name="sweep", date_changed__gte=begun).exists())


def _asked(question: Callable[[], bool]) -> bool:
    try:
        return question()
    finally:
        connections.close_all()


def _answers(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own loopback address
        return bool(answer.status == 200)
    return False


# ---- one at a time, and what is left for others to find


@contextmanager
def _alone() -> Iterator[None]:
    folder = Path(settings.DATA_DIR)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise NotStarted(
                f"it runs already on {folder}, at {settings.BASE_URL} (log in: manage.py login_link). "
                "Stop it with Ctrl-C where it runs, or start only one more worker: manage.py worker"
            ) from None
        yield


@contextmanager
def _left_in(file: Path, address: str) -> Iterator[None]:
    file.write_text(address)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


# ---- what is said


def _taken(web: socket.socket) -> list[str]:
    port = web.getsockname()[1]
    return [] if settings.PORT in (0, port) else [f"Port       {settings.PORT} is taken, so it is {port}"]


def _box(address: str, notes: list[str]) -> Iterator[str]:
    user = services.person_in_charge()
    link = services.login_link(user, base=address)
    connections.close_all()
    yield ""
    yield "╭─ CompyMac is running; Ctrl-C stops it"
    yield f"│  Address    {address}"
    yield f"│  Data       {settings.DATA_DIR} (the lines above are in logs/)"
    yield from (f"│  {note}" for note in notes)
    yield f"│  Log in     {link}"
    yield f"│             once, within 15 minutes, as {user.get_username()}; another: manage.py login_link"
    yield "╰─"

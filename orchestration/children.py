"""Child processes of a command that runs for a while: started with a log, waited for until ready, stopped by their pid."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .errors import OrchestrationError
from .warm import Warm

STARTS_WITHIN = 60.0
STOPS_WITHIN = 30.0  # a worker's drain, with what Celery adds
WORKER = (
    *(sys.executable, "-m", "compymac_site", "worker", "--loglevel=info"),
    # what workers know of each other is in the database; looking for the others is a second before the first message
    *("--without-mingle", "--without-gossip"),
)
# Asks the kernel for a signal at the end of the parent, then becomes the program. (A preexec_fn is not safe beside threads.)
BOUND = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, int(sys.argv[1]))
if os.getppid() != int(sys.argv[2]):
    os._exit(1)
os.execvp(sys.argv[3], sys.argv[3:])
"""


class NotStarted(OrchestrationError):
    """A child process did not start; the message says which, and where its log is."""


def bound_to_us(argv: Sequence[str], farewell: signal.Signals = signal.SIGTERM) -> list[str]:
    """The same command, which gets `farewell` when this thread ends in whatever way (kill -9 too). On Linux; elsewhere as it is."""
    if not sys.platform.startswith("linux"):
        return list(argv)
    return [sys.executable, "-I", "-S", "-c", BOUND, str(int(farewell)), str(os.getpid()), *argv]


@contextmanager
def child(
    name: str,
    argv: Sequence[str],
    ready: Callable[[], bool],
    *,
    env: Mapping[str, str],
    folder: Path,
    log: Path,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own (Ctrl-C reaches only us, and we stop it kindly first)."""
    with log.open("w") as file:
        process = subprocess.Popen(
            argv, env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )
    try:
        ends = time.monotonic() + STARTS_WITHIN
        while not ready():
            if process.poll() is not None or time.monotonic() > ends:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
                raise NotStarted(f"the {name} did not start; the end of {log}:\n{tail}")
            time.sleep(0.05)
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes], within: float = STOPS_WITHIN) -> None:
    """SIGTERM, then after a while SIGKILL, to this child and its group only."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(timeout=within)
    except subprocess.TimeoutExpired:
        kill(process)


def kill(process: subprocess.Popen[bytes] | Warm) -> None:
    """At once, with what it started in its own session."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

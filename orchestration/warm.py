"""Python processes that have imported everything before it is known what each will be: forks of one process, which share its memory.

A start by exec costs each program a second of imports and 70 to 100 MB of its own. A fork is told later what exec would be: words
(`python -m module …`), an environment, a descriptor.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BufferedReader, TextIOWrapper

from .envfile import read_settings_anew

# What worker, beat and panel import; by name, since this module is below all of them.
PROGRAMS = (
    *("celery.bin.worker", "celery.bin.beat", "celery.apps.worker", "celery.apps.beat", "celery.concurrency.thread"),
    *("django_celery_beat.schedulers", "compymac_site.transport", "orchestration.tasks", "compymac_site.urls"),
    *("uvicorn.main", "uvicorn.loops.auto", "uvicorn.protocols.http.auto", "uvicorn.protocols.websockets.auto"),
)
SET_DEATH_SIGNAL, SET_NAME = 1, 15  # of prctl
LONGEST_ORDER = 1 << 20
# Elsewhere forks are not safe beside the system's libraries, and nothing ends them with their parent: there it is exec.
POSSIBLE = sys.platform.startswith("linux")


class Warm:
    """One fork. It waits for its order; from then on it is to its supervisor what a `subprocess.Popen` is."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair()
        start = multiprocessing.get_context("fork").Process  # which knows how a forked Python has to end
        self._process = start(target=_wait_for_order, args=(theirs, os.getpid()), daemon=True)
        self._process.start()
        theirs.close()
        self.stdout: BufferedReader | None = None

    @property
    def pid(self) -> int:
        return int(self._process.pid or 0)

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def become(self, order: Order, listens: int | None) -> None:
        """Run that; its output is `stdout`. The number that `listens` has there is added to its words."""
        lines, write = os.pipe()
        self.stdout = os.fdopen(lines, "rb")
        with self._ours as ours:
            ours.recv(1)  # it leads a session of its own by now, and can be killed with all that it starts
            socket.send_fds(
                ours, [json.dumps(asdict(order)).encode()], [write] if listens is None else [write, listens]
            )
        os.close(write)

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0)
        return self.returncode

    def terminate(self) -> None:
        self._process.terminate()

    def dismiss(self) -> None:
        """It was not needed."""
        self._ours.close()
        self._process.kill()
        self._process.join()


@dataclass(frozen=True, slots=True)
class Order:
    """`python -m module words`, in this folder, with this environment. `farewell`: its signal when its supervisor is killed."""

    name: str
    module: str
    words: Sequence[str]
    folder: str
    env: Mapping[str, str]
    farewell: int


@contextmanager
def warm_up(number: int) -> Iterator[list[Warm]]:
    """So many forks of this process, which must have no threads and nothing open yet. Those that nobody took are ended at the end."""
    forks: list[Warm] = []
    try:
        if POSSIBLE:
            gc.disable()  # what it would look at again and again all stays
            for program in PROGRAMS:
                importlib.import_module(program)
            gc.freeze()  # so that no collection writes into what they share
            forks += [Warm() for _ in range(number)]
            gc.enable()
        yield forks
    finally:
        while forks:
            forks.pop().dismiss()


# ---- in the fork


def _wait_for_order(theirs: socket.socket, parent: int) -> None:
    _ends_with(parent, signal.SIGKILL)
    os.setsid()  # Ctrl-C in the terminal is for the supervisor
    for changed in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(changed, signal.SIG_DFL)
    theirs.send(b".")
    said, files, _, _ = socket.recv_fds(theirs, LONGEST_ORDER, 2)
    if said:
        with theirs:
            while not said.endswith(b"}"):
                said += theirs.recv(LONGEST_ORDER)
        _be(Order(**json.loads(said)), files, parent)


def _be(order: Order, files: Sequence[int], parent: int) -> None:
    """As exec would find it."""
    _ends_with(parent, order.farewell)
    ctypes.CDLL(None).prctl(SET_NAME, order.name.encode()[:15])
    _write_to(files[0])
    os.chdir(order.folder)
    os.environ.clear()
    os.environ.update(order.env)
    read_settings_anew()  # they were read before the environment had the address of our own Redis
    gc.enable()
    sys.argv = [order.module, *order.words, *map(str, files[1:])]
    runpy.run_module(order.module, run_name="__main__", alter_sys=True)


def _ends_with(parent: int, farewell: int) -> None:
    ctypes.CDLL(None).prctl(SET_DEATH_SIGNAL, farewell)
    if os.getppid() != parent:
        os._exit(1)


def _write_to(file: int) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    for ours, standard in ((nothing, 0), (file, 1), (file, 2)):
        os.dup2(ours, standard)
    os.close(nothing)
    os.close(file)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(write_through=True)

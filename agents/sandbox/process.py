"""One chain of processes from spawn to end: reads its output with a selector, clips it, and ends it by clock, flood or order."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

HEAD = TAIL = 64 * 1024  # bytes kept of each stream where it is longer
WHOLE = 8 * 1024 * 1024  # bytes kept of both together, in order of arrival
FLOOD = 64 * 1024 * 1024  # more output than this ends the command
WATCH_EVERY = 1.0  # seconds between two looks at the disk
TIME = "time"
PATIENCE = 3.0  # seconds for a killed chain to let go of its output


@dataclass
class Stream:
    """The beginning and the end of what came, and how much it was."""

    head: bytearray = field(default_factory=bytearray)
    tail: bytearray = field(default_factory=bytearray)
    size: int = 0

    def add(self, data: bytes) -> None:
        self.size += len(data)
        room = HEAD - len(self.head)
        self.head += data[:room]
        self.tail += data[room:]
        if len(self.tail) > 2 * TAIL:
            del self.tail[:-TAIL]

    @property
    def clipped(self) -> bool:
        return self.size > HEAD + TAIL

    def text(self) -> str:
        if not self.clipped:
            return (self.head + self.tail).decode("utf-8", "replace")
        head, tail = self.head.decode("utf-8", "replace"), self.tail[-TAIL:].decode("utf-8", "replace")
        return f"{head}\n[… {self.size - HEAD - TAIL} bytes left out …]\n{tail}"


@dataclass(frozen=True, slots=True)
class Ended:
    """`returncode` as Popen has it; `stopped` says why we ended it: the name of a limit, TIME, closed, or nothing."""

    returncode: int
    stdout: Stream
    stderr: Stream
    whole: bytes
    stopped: str
    duration: float


@dataclass(frozen=True, slots=True)
class Prepared:
    """How a provider starts one command. `inherited` are descriptors that only the chain needs, `status` is our end of its report."""

    argv: Sequence[str]
    inherited: Sequence[int]
    status: int


class Chain:
    """A running chain. `kill` may be called from any thread; the spawning thread must be the one that waits (die-with-parent).

    Its environment is empty: what the command shall find there is handed over by the provider. `owner` becomes the owner of the
    output pipes, or else a command could not open /dev/stdout again.
    """

    def __init__(self, prepared: Prepared, stdin: bytes, owner: int, end_signal: signal.Signals) -> None:
        self.over = threading.Event()
        self._signal = end_signal
        self._stopped = ""
        self._gives_up_at = 0.0
        self._lock = threading.Lock()
        source = memory_file(stdin)
        try:
            self._process = subprocess.Popen(
                prepared.argv,
                env={},
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                close_fds=True,
                pass_fds=tuple(prepared.inherited),
                start_new_session=True,
            )
        finally:
            os.close(source)
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._pipes = (self._process.stdout, self._process.stderr)
        for pipe in self._pipes:
            os.fchown(pipe.fileno(), owner, -1)

    def kill(self, why: str) -> None:
        """End the whole chain at once; only the first reason counts."""
        with self._lock:
            if self._stopped or self._process.returncode is not None:
                return
            self._stopped, self._gives_up_at = why, time.monotonic() + PATIENCE
            with contextlib.suppress(ProcessLookupError):
                if self._signal == signal.SIGKILL:
                    os.killpg(self._process.pid, signal.SIGKILL)
                else:
                    self._process.send_signal(self._signal)

    @property
    def stopped(self) -> bool:
        return bool(self._stopped)

    def wait(self, timeout: float, watch: Callable[[], str]) -> Ended:
        """Read it and stay until it is over. `watch` names a limit of the disk that was passed, or nothing."""
        begun = time.monotonic()
        out, err, whole = Stream(), Stream(), bytearray()
        try:
            self._read(out, err, whole, begun + timeout, watch)
        except BaseException:
            self.kill("closed")
            raise
        finally:
            self._reap()
            for pipe in self._pipes:
                pipe.close()
            self.over.set()
        cut = bytes(whole) if out.clipped or err.clipped else b""
        return Ended(self._process.returncode, out, err, cut, self._stopped, time.monotonic() - begun)

    def _read(self, out: Stream, err: Stream, whole: bytearray, ends: float, watch: Callable[[], str]) -> None:
        next_look = time.monotonic() + WATCH_EVERY
        with selectors.DefaultSelector() as selector:
            for pipe, stream in zip(self._pipes, (out, err), strict=True):
                selector.register(pipe, selectors.EVENT_READ, stream)
            while selector.get_map() and (now := time.monotonic()) < (self._gives_up_at or now + 1):
                if now >= ends:
                    self.kill(TIME)
                elif now >= next_look:
                    if struck := watch():
                        self.kill(struck)
                    next_look = time.monotonic() + WATCH_EVERY
                pause = 0.1 if self._stopped else max(0.0, min(ends, next_look) - now)
                for key, _ in selector.select(pause):
                    if not (data := os.read(key.fd, 65536)):
                        selector.unregister(key.fileobj)
                        continue
                    key.data.add(data)
                    whole += data[: WHOLE - len(whole)]
                if out.size + err.size > FLOOD:
                    self.kill(f"more than {FLOOD // 1024 // 1024} MiB of output")

    def _reap(self) -> None:
        """Its output is over; what still holds on is given a moment, then ended hard."""
        try:
            self._process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def memory_file(data: bytes) -> int:
    """A descriptor from which `data` can be read, and nothing written; the caller closes it."""
    writable = os.memfd_create("compymac")
    try:
        with os.fdopen(os.dup(writable), "wb") as file:
            file.write(data)
        return os.open(f"/proc/self/fd/{writable}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(writable)

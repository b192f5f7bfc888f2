"""One chain of processes from spawn to end: reads its output with a selector, clips it, and ends it by clock, flood or order."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

HEAD = TAIL = 32 * 1024  # bytes kept of each stream where it is longer
WHOLE = 8 * 1024 * 1024  # bytes kept of both together, in order of arrival
FLOOD = 64 * 1024 * 1024  # more output than this ends the command
WATCH_EVERY = 2.0  # seconds between two looks at the disk


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
        self.tail += data[room:] if room > 0 else data
        if len(self.tail) > 2 * TAIL:
            del self.tail[:-TAIL]

    @property
    def clipped(self) -> bool:
        return self.size > HEAD + TAIL

    def text(self) -> str:
        if not self.clipped:
            return (bytes(self.head) + bytes(self.tail)).decode("utf-8", "replace")
        left_out = self.size - HEAD - TAIL
        head, tail = (part.decode("utf-8", "replace") for part in (bytes(self.head), bytes(self.tail[-TAIL:])))
        return f"{head}\n[… {left_out} bytes left out …]\n{tail}"


@dataclass(frozen=True, slots=True)
class Ended:
    """`returncode` as Popen has it; `stopped` says why we ended it: "", time, flood, disk, closed."""

    returncode: int
    stdout: Stream
    stderr: Stream
    whole: bytes
    stopped: str
    duration: float


class Chain:
    """A running chain. `kill` may be called from any thread; the spawning thread must be the one that waits (die-with-parent)."""

    def __init__(
        self, argv: Sequence[str], env: Mapping[str, str], pass_fds: Sequence[int], end_signal: signal.Signals
    ) -> None:
        self._signal = end_signal
        self._stopped = ""
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            argv,
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            close_fds=True,
            pass_fds=tuple(pass_fds),
            start_new_session=True,
        )

    def kill(self, why: str) -> None:
        """End the whole chain at once; only the first reason counts."""
        with self._lock:
            self._stopped = self._stopped or why
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    if self._signal == signal.SIGKILL:
                        os.killpg(self._process.pid, signal.SIGKILL)
                    else:
                        self._process.send_signal(self._signal)

    def wait(self, stdin: bytes, timeout: float, watch: Callable[[], str]) -> Ended:
        """Feed it, read it, and stay until it is over. `watch` names a limit of the disk that was passed, or nothing."""
        begun = time.monotonic()
        feeder = threading.Thread(target=self._feed, args=(stdin,), daemon=True)
        feeder.start()
        out, err, whole = Stream(), Stream(), bytearray()
        try:
            self._read(out, err, whole, begun + timeout, watch)
        except BaseException:
            self.kill("closed")
            raise
        finally:
            self._reap()
        feeder.join(1)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        cut = bytes(whole) if out.clipped or err.clipped else b""
        return Ended(self._process.returncode, out, err, cut, self._stopped, time.monotonic() - begun)

    def _read(self, out: Stream, err: Stream, whole: bytearray, ends: float, watch: Callable[[], str]) -> None:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        next_look = time.monotonic() + WATCH_EVERY
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ, out)
            selector.register(self._process.stderr, selectors.EVENT_READ, err)
            while selector.get_map():
                now = time.monotonic()
                if now >= ends:
                    self.kill("time")
                    ends = now + 3600
                if now >= next_look:
                    next_look = now + WATCH_EVERY
                    if struck := watch():
                        self.kill(struck)
                for key, _ in selector.select(max(0.0, min(ends, next_look) - now)):
                    data = os.read(key.fd, 65536)
                    if not data:
                        selector.unregister(key.fileobj)
                        continue
                    key.data.add(data)
                    whole += data[: WHOLE - len(whole)]
                    if out.size + err.size > FLOOD:
                        self.kill("flood")

    def _feed(self, stdin: bytes) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        with contextlib.suppress(OSError, ValueError):
            pipe.write(stdin)
            pipe.flush()
        with contextlib.suppress(OSError, ValueError):
            pipe.close()

    def _reap(self) -> None:
        """Its output is over; what still holds on is given a moment, then ended hard."""
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

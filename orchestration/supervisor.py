"""Processes side by side: their lines are shown with their names, and they stop in groups.

One that ends by itself ends them all: whoever wants restarts runs the whole under systemd. On Linux they also end when we are killed.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

from .children import STARTS_WITHIN, NotStarted, bound_to_us, kill
from .terminal import CONTROL
from .warm import Order, Warm

Process = subprocess.Popen[bytes] | Warm
COLOURS = {"redis": "35", "worker": "36", "beat": "34", "web": "32", "flower": "33"}
LAST_LINES = 12
LONGEST_LINE = 8192
LOG_BYTES = 5_000_000  # of each log file; two older ones are kept
STOP_WITHIN = {0: 3.5, 1: 4.5, 2: 1.0}  # seconds for each group of `Part.stops`; together less than ten


@dataclass(frozen=True, slots=True)
class Part:
    """`stops`: the lowest go first, those with the same number together. `orphaned`: the signal when we are killed.

    `listens`: a descriptor that it gets; its number becomes the last word of the command.
    """

    name: str
    argv: Sequence[str]
    ready: Callable[[Process], bool]
    stops: int = 0
    orphaned: signal.Signals = signal.SIGTERM
    listens: int | None = None


class Child:
    """A started part: its process, and a thread that carries its lines to the terminal and to its log."""

    def __init__(self, part: Part, process: Process, show: Callable[[str, str], None], log: Path) -> None:
        self.part, self.process, self.log = part, process, log
        self.tail: deque[str] = deque(maxlen=LAST_LINES)
        self._show = show
        self._reader = threading.Thread(target=self._read, daemon=True, name=f"lines of {part.name}")
        self._reader.start()

    def ended(self) -> str:
        """How it ended and its last lines; empty while it runs."""
        code = self.process.poll()
        if code is None:
            return ""
        self._reader.join(2)
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended by itself (exit code {code})"
        last = "".join(f"\n    {line}" for line in self.tail)
        return f"{self.part.name} {how}; its log is {self.log}, which ends with:{last}"

    def finish(self, ends: float) -> None:
        """Wait until `ends` (of the monotonic clock), then end it hard."""
        try:
            self.process.wait(max(ends - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            kill(self.process)
        self._reader.join(1)

    def _read(self) -> None:
        assert self.process.stdout is not None
        handler = RotatingFileHandler(self.log, maxBytes=LOG_BYTES, backupCount=2, errors="replace")
        with self.process.stdout as lines:
            while raw := lines.readline(LONGEST_LINE):
                line = CONTROL.sub("", raw.decode(errors="replace").rstrip())
                self.tail.append(line)
                handler.emit(logging.makeLogRecord({"msg": line}))
                self._show(self.part.name, line)
        handler.close()


class Supervisor:
    """Use it as a context manager, in the main thread; leaving it stops everything."""

    def __init__(
        self,
        out: TextIO,
        logs: Path,
        folder: Path,
        env: Mapping[str, str],
        colour: bool,
        spare: list[Warm] | None = None,
    ) -> None:
        self.env = {**env, "PYTHONUNBUFFERED": "1"}
        self._out, self._logs, self._folder, self._colour = out, logs, folder, colour
        self._children: list[Child] = []
        self._spare = spare if spare is not None else []
        self._lock = threading.Lock()
        logs.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, *parts: Part) -> None:
        """Start them together and wait until all are ready. Raises NotStarted with the last lines of one that is not."""
        waited_for = [self._begin(part) for part in parts]
        ends = time.monotonic() + STARTS_WITHIN
        while waited_for := [child for child in waited_for if not child.part.ready(child.process)]:
            for child in waited_for:
                problem = child.ended()
                if not problem and time.monotonic() > ends:
                    problem = f"{child.part.name} was not ready within {STARTS_WITHIN:.0f} s; its log is {child.log}"
                if problem:
                    self._children.remove(child)
                    kill(child.process)
                    raise NotStarted(problem)
            time.sleep(0.05)

    def run(self, part: Part) -> None:
        """Start one that has something to do first, and wait for its end. Raises NotStarted with its last lines if it fails."""
        child = self._begin(part)
        if child.process.wait():
            raise NotStarted(child.ended())
        child.finish(0)
        self._children.remove(child)

    def _begin(self, part: Part) -> Child:
        process = self._warm(part) or self._exec(part)
        child = Child(part, process, self.show, self._logs / f"{part.name}.log")
        self._children.append(child)
        return child

    def _warm(self, part: Part) -> Warm | None:
        """One of the processes that only wait to be told which Python program they are."""
        python, option, *words = part.argv
        if not self._spare or (python, option) != (sys.executable, "-m"):
            return None
        process = self._spare.pop()
        order = Order(part.name, words[0], words[1:], str(self._folder), self.env, part.orphaned)
        process.become(order, part.listens)
        return process

    def _exec(self, part: Part) -> subprocess.Popen[bytes]:
        listens = [] if part.listens is None else [part.listens]
        return subprocess.Popen(
            bound_to_us([*part.argv, *map(str, listens)], part.orphaned),
            env=self.env,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=listens,
        )

    def watch(self) -> None:
        """Until one of them has ended: raises NotStarted with how, and its last lines."""
        while True:
            for child in self._children:
                if problem := child.ended():
                    raise NotStarted(problem)
            time.sleep(0.2)

    def stop(self) -> None:
        """Group by group; a second Ctrl-C ends them all at once."""
        try:
            for group, seconds in sorted(STOP_WITHIN.items()):
                children = [child for child in self._children if child.part.stops == group]
                for child in children:
                    if child.process.poll() is None:
                        child.process.terminate()
                ends = time.monotonic() + seconds
                for child in children:
                    child.finish(ends)
        finally:
            for child in self._children:
                kill(child.process)
            self._children.clear()

    def show(self, name: str, line: str) -> None:
        """One line on the terminal, with the name in front. A terminal that went away stops nobody."""
        label = f"{name:>6} │"
        if self._colour and name in COLOURS:
            label = f"\x1b[{COLOURS[name]}m{label}\x1b[0m"
        with self._lock:
            try:
                self._out.write(f"{label} {line}\n" if name else f"{line}\n")
                self._out.flush()
            except (OSError, ValueError):
                self._out = open(os.devnull, "w")  # noqa: SIM115, PTH123 - for the rest of this process

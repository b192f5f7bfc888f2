"""What tests look at from the host: processes by a mark in their command line, and waiting for a fact instead of for a time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path


def until(fact: Callable[[], bool], seconds: float = 20.0) -> bool:
    ends = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > ends:
            return False
        time.sleep(0.01)
    return True


def running(mark: str) -> list[str]:
    """The command lines of all living processes that contain the mark."""
    return [line.replace(b"\0", b" ").decode(errors="replace") for _, line in _marked(mark)]


def owners(mark: str) -> set[int]:
    """To whom /proc says that their files belong."""
    return {(process / "status").stat().st_uid for process, _ in _marked(mark)}


def _marked(mark: str) -> Iterator[tuple[Path, bytes]]:
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and mark.encode() in (line := (process / "cmdline").read_bytes()):
                yield process, line

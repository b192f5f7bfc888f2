"""Processes that must not outlive their sandbox: found by the user id or the folder that they were given, and ended."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from .limits import drop_root

PATIENCE = 3.0  # seconds that the kernel gets to carry out SIGKILL


def end_all_of(uid: int) -> None:
    """Root only: end whatever carries this user id. `kill -1` reaches all of them at once, so that a fork bomb cannot outrun it."""
    ends = time.monotonic() + PATIENCE
    while uid in _living_uids() and time.monotonic() < ends:
        argv = [*drop_root(uid), "/bin/sh", "-c", "kill -9 -1"]
        subprocess.run(argv, env={}, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        time.sleep(0.005)


def end_all_in(folder: Path) -> None:
    """End what was started for a sandbox's folder: it is mounted in the namespace, or its copy of the launcher is the program."""
    ends = time.monotonic() + PATIENCE
    while (found := list(processes_in(folder))) and time.monotonic() < ends:
        for pid, how in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, how)
        time.sleep(0.005)


def processes_in(folder: Path) -> Iterator[tuple[int, signal.Signals]]:
    """(pid, the signal that ends it) of what was started for this folder, or for one below it if that is mounted."""
    launcher = os.fsencode(folder / "launcher.py")
    for process in _processes():
        with contextlib.suppress(OSError):
            if os.fsencode(folder.name) in (process / "mountinfo").read_bytes():
                yield int(process.name), signal.SIGKILL
            elif launcher in (process / "cmdline").read_bytes().split(b"\0"):
                yield int(process.name), signal.SIGTERM  # it ends its descendants itself


def _living_uids() -> set[int]:
    """From `status`, not from an owner in /proc: a process makes its files there root's by giving up its dumpable flag."""
    found = set()
    for process in _processes():
        with contextlib.suppress(OSError):
            status = (process / "status").read_text(errors="replace")
            state, uid = re.search(r"^State:\s+(\w)", status, re.M), re.search(r"^Uid:\s+(\d+)", status, re.M)
            if state and uid and state[1] not in "ZX":
                found.add(int(uid[1]))
    return found


def _processes() -> list[Path]:
    return [path for path in Path("/proc").iterdir() if path.name.isdigit()]

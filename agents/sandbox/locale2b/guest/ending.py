"""The end of whatever a command left in the VM: its processes, and its files outside of the workspace."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time

from .moving import HOME

PATIENCE = 3.0  # seconds that the kernel gets to carry out SIGKILL


def end_all(user: int, top: int = 0) -> int:
    """SIGKILL to all that is left, until nothing is; how many would not go."""
    ends = time.monotonic() + PATIENCE
    while left := _strangers(user, top or os.getpid()):
        if time.monotonic() > ends:
            return len(left)
        if user:
            _end_all_of(user)
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)
    return 0


def _end_all_of(user: int) -> None:
    """All of them at once: a fork bomb cannot outrun it."""
    if child := os.fork():
        os.waitpid(child, 0)
        return
    with contextlib.suppress(OSError):
        os.setgid(user)
        os.setuid(user)
        os.kill(-1, signal.SIGKILL)
    os._exit(0)


def _strangers(user: int, top: int) -> list[int]:
    """Living processes of the sandbox's user; without such a user, the descendants of `top`."""
    living = {pid: (parent, owner) for pid, state, parent, owner in _processes() if state not in "ZX"}
    if user:
        return [pid for pid, (_, owner) in living.items() if owner == user]
    ours, known = {top}, 0
    while len(ours) != known:
        known = len(ours)
        ours |= {pid for pid, (parent, _) in living.items() if parent in ours}
    return sorted(ours - {top, os.getpid()})


def _processes() -> list[tuple[int, str, int, int]]:
    """(pid, state, parent, owner) of each; from `status`, which cannot be made root's by a process itself."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, KeyError), open(f"/proc/{name}/status", errors="replace") as file:
                said = dict(line.split(":", 1) for line in file if ":" in line)
                found.append((int(name), said["State"].split()[0], int(said["PPid"]), int(said["Uid"].split()[0])))
    return found


def sweep_tmp() -> None:
    """No state from one command to the next but the workspace's files (and the vault's)."""
    for folder in ("/tmp", "/dev/shm"):
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            path = os.path.join(folder, name)
            if path == HOME:
                continue
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    os.unlink(path)

"""The second local provider: Landlock + seccomp, for hosts that refuse user namespaces. Weaker, and said so. See reference §12."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

from ..ports import Command, Sandbox, SandboxSpec
from . import seccomp
from .local import LocalSandbox, Prepared, drop_root_argv, environment, limits_argv
from .process import Ended
from .slots import Slots, Uids

LAUNCHER = Path(__file__).with_name("landlock_launcher.py")


class LandlockProvider:
    """Sandboxes in folders below `root`; the workspace is seen at its real path, and read-only folders at theirs."""

    name = "landlock"
    layers = (
        "landlock",
        "no network",
        "no loopback",
        "seccomp",
        "host processes countable",
        "resource limits per process",
    )

    def __init__(self, root: Path, parallel: int | None = None) -> None:
        self.root = root
        self.scratch = root / "scratch"
        self._slots = Slots(parallel)
        self._uids = Uids() if os.getuid() == 0 else None

    def open(self, spec: SandboxSpec) -> Sandbox:
        return LocalSandbox(_Launcher(), spec, self.root, self._slots, self._uids)


class _Launcher:
    end_signal = signal.SIGTERM  # the supervisor then kills every descendant, also those that left the process group

    def prepare(self, box: LocalSandbox, command: Command) -> Prepared:
        home = box.home / "tmp"
        home.mkdir(exist_ok=True)
        if os.getuid() == 0:
            os.chown(home, box.uid, box.uid)
        folders = {"workspace": str(box.workspace), "vault": str(box.vault), "home": str(box.home), "tmp": str(home)}
        env = environment(box, command, **folders, mounted=lambda place: _real(place, box.spec))
        env["PATH"] = ":".join(_real(place, box.spec) for place in env["PATH"].split(":"))
        order = {
            "script": command.script,
            "cwd": str(box.workspace),
            "env": env,
            "read": [str(path) for path in box.spec.readonly.values()],
            "write": [str(box.workspace), str(box.home), *([str(box.vault)] if command.vault else [])],
            "processes": box.spec.processes,
            "internet": command.network,
            "seccomp": _program(internet=command.network).hex(),
        }
        order_fd, status_read, status_write = _memory(json.dumps(order).encode()), *os.pipe()
        argv = [
            *drop_root_argv(box.uid),
            *limits_argv(box.spec, command.timeout),
            *(_interpreter(), "-I", str(_readable_launcher(box)), str(order_fd), str(status_write)),
        ]
        fds = (order_fd, status_write)
        return Prepared(argv, {}, fds, status_read, fds)

    def exit_code(self, ended: Ended, status: bytes) -> int | None:
        """The supervisor writes the code once the command has ended."""
        return int(status) if status.strip() else None

    def clean_up(self, box: LocalSandbox) -> None:
        """As root every sandbox has a user id of its own: whatever still carries it is ended."""
        if os.getuid() != 0:
            return
        for _ in range(50):
            left = [pid for pid in _pids() if _uid_of(pid) == box.uid]
            if not left:
                return
            for pid in left:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)


def _interpreter() -> str:
    """This interpreter, if a user without rights can start it; else the system's (a pyenv below /root is not passable)."""
    own = Path(sys.executable).resolve()
    passable = os.getuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in own.parents)
    return sys.executable if passable else "/usr/bin/python3"


def _readable_launcher(box: LocalSandbox) -> Path:
    """The launcher next to the workspace: our own sources may lie where the sandbox's user cannot read."""
    copy = box.folder / "launcher.py"
    if not copy.exists():
        copy.write_bytes(LAUNCHER.read_bytes())
        copy.chmod(0o644)
    return copy


def _real(place: str, spec: SandboxSpec) -> str:
    """A PATH entry that is named by its place inside a mount, at the folder's own path."""
    for inside, host in spec.readonly.items():
        if place == inside or place.startswith(f"{inside}/"):
            return str(host) + place[len(inside) :]
    return place


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208


def _uid_of(pid: int) -> int:
    try:
        return Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return -1


def _program(*, internet: bool) -> bytes:
    fd = seccomp.as_file(internet=internet)
    with os.fdopen(fd, "rb") as file:
        return file.read()


def _memory(data: bytes) -> int:
    fd = os.memfd_create("compymac")
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd

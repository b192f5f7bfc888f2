"""The second local provider: Landlock + seccomp, for hosts that refuse user namespaces. Weaker, and said so. See reference §12."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from pathlib import Path

from ..errors import Permanent
from ..ports import Command, Sandbox, SandboxSpec
from . import seccomp
from .environment import environment
from .files import remove_tree
from .leftovers import end_all_in, end_all_of
from .limits import drop_root, find_tool, resource_limits
from .local import LocalSandbox, sweep_folders
from .process import Prepared, memory_file
from .slots import Slots, Uids

LAUNCHER = Path(__file__).with_name("landlock_launcher.py")
CREATE_RULESET = 444
SIGNALS_SCOPED = 6  # the version of Landlock that keeps a command from signalling processes outside


class LandlockProvider:
    """Sandboxes in folders below `root`; the workspace is seen at its real path, and read-only folders at theirs."""

    name = "landlock"
    dependency = ""
    layers: tuple[str, ...] = (
        *("landlock", "no network", "no loopback", "seccomp"),
        *("host processes countable", "resource limits per process"),
    )

    def __init__(self, root: Path, parallel: int | None = None) -> None:
        self.root = root
        self.scratch = root / "scratch"
        self._slots = Slots(parallel)
        self._uids = Uids() if os.getuid() == 0 else None
        for tool in ("prlimit", *(("setpriv",) if self._uids else ())):
            find_tool(tool)
        version = landlock_version()
        if version < 1:
            raise Permanent("this kernel has no Landlock")
        if version < SIGNALS_SCOPED and not self._uids:
            self.layers = (*self.layers, "can signal the user's other processes")

    def open(self, spec: SandboxSpec) -> Sandbox:
        return LocalSandbox(_Launcher(), spec, self.root, self._slots, self._uids)

    def sweep(self) -> int:
        return sweep_folders(self.root)


class _Launcher:
    end_signal = signal.SIGTERM  # the supervisor then kills every descendant, also those that left the process group

    def prepare(self, box: LocalSandbox, command: Command) -> Prepared:
        remove_tree(box.home)  # each command finds a fresh one
        home, tmp = (str(box.make(name)) for name in ("home", "home/tmp"))
        folders = {"workspace": str(box.workspace), "vault": str(box.vault), "home": home, "tmp": tmp}
        order = {
            "script": command.script,
            "cwd": str(box.workspace),
            "env": environment(box.spec, command, **folders, seen_at=lambda place: _real(place, box.spec)),
            "read": [str(path) for path in box.spec.readonly.values()],
            "write": [str(box.workspace), str(box.home), *([str(box.vault)] if command.vault else [])],
            "processes": box.spec.processes,
            "shared_user": os.getuid() != 0,
            "internet": command.network,
            "seccomp": seccomp.program(internet=command.network, own_ipc=False).hex(),
            "parent": os.getpid(),
        }
        order_fd = memory_file(json.dumps(order).encode())
        status, status_inside = os.pipe()
        argv = [
            *drop_root(box.uid),
            *resource_limits(box.spec, command.timeout),
            *(_interpreter(), "-I", "-S", str(_readable_launcher(box)), str(order_fd), str(status_inside)),
        ]
        return Prepared(argv, (order_fd, status_inside), status)

    def exit_code(self, status: bytes) -> int | None:
        """The supervisor writes the code once the command has ended; nothing if it could not be confined."""
        return int(status) if status.strip() else None

    def clean_up(self, box: LocalSandbox, stopped: bool) -> None:
        """The supervisor ends its descendants. As root a sandbox's own user id makes sure of it, whatever became of the supervisor."""
        if os.getuid() == 0:
            end_all_of(box.uid)
        elif stopped:
            end_all_in(box.folder)


def landlock_version() -> int:
    """0 and less: this kernel has none."""
    return int(ctypes.CDLL(None).syscall(CREATE_RULESET, None, ctypes.c_size_t(0), 1))


def _interpreter() -> str:
    """This interpreter, if a user without rights can start it; else the system's (a pyenv below /root is not passable)."""
    own = Path(sys.executable).resolve()
    passable = os.getuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in own.parents)
    return sys.executable if passable else find_tool("python3")


def _readable_launcher(box: LocalSandbox) -> Path:
    """The launcher next to the workspace: our own sources may lie where the sandbox's user cannot read."""
    copy = box.folder / "launcher.py"
    if not copy.exists():
        copy.write_bytes(LAUNCHER.read_bytes())
        copy.chmod(0o644)
    return copy


def _real(place: str, spec: SandboxSpec) -> str:
    """What is named by its place inside a mount, at the folder's own path."""
    for inside, host in spec.readonly.items():
        if place == inside or place.startswith(f"{inside}/"):
            return str(host) + place[len(inside) :]
    return place

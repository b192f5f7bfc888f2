"""The first local provider: bubblewrap. Each command is a fresh set of namespaces around the sandbox's folder. See reference §2."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from ..ports import Command, Sandbox, SandboxSpec
from . import seccomp
from .environment import environment
from .leftovers import end_all_in, end_all_of
from .limits import MIB, drop_root, find_tool, resource_limits
from .local import LocalSandbox, sweep_folders
from .process import Prepared, memory_file
from .slots import Slots, Uids

PASSWD = b"agent:x:1000:1000:agent:/home/agent:/bin/bash\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
GROUP = b"agent:x:1000:\nnogroup:x:65534:\n"
ISOLATION = (
    *("--unshare-all", "--unshare-user", "--disable-userns", "--uid", "1000", "--gid", "1000", "--hostname", "sandbox"),
    *("--die-with-parent", "--new-session", "--as-pid-1", "--cap-drop", "ALL", "--clearenv"),
)
SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/ssl/certs")
NETWORK_FILES = (
    *("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/gai.conf"),
    *("/etc/ssl", "/usr/share/ca-certificates"),
)
MEMORY_FOLDERS = {"/tmp": 512, "/home/agent": 256, "/dev/shm": 64}  # noqa: S108 - MiB; inside they are the sandbox's own
INSTALLER_FOLDERS = ("PIP_FIND_LINKS",)
# PID 1 is a shell of ours: as PID 1 a command would ignore its own signals. Where memory runs out, the kernel shall take it first.
INNER = 'echo 1000 >/proc/self/oom_score_adj; /usr/bin/prlimit --nproc="$1" -- /bin/bash -c "$2"; exit $?'


class BubblewrapProvider:
    """Sandboxes in folders below `root`, which must be passable (mode x) for other users when the worker is root."""

    name = "bubblewrap"
    dependency = ""
    layers = ("namespaces", "no network", "loopback up", "seccomp", "read-only system", "resource limits per process")

    def __init__(self, root: Path, parallel: int | None = None) -> None:
        self.root = root
        self.scratch = root / "scratch"
        self._slots = Slots(parallel)
        self._uids = Uids() if os.getuid() == 0 else None
        for tool in ("bwrap", "prlimit", *(("setpriv",) if self._uids else ())):
            find_tool(tool)

    def open(self, spec: SandboxSpec) -> Sandbox:
        return LocalSandbox(_Launcher(), spec, self.root, self._slots, self._uids)

    def sweep(self) -> int:
        return sweep_folders(self.root)


class _Launcher:
    end_signal = signal.SIGKILL

    def prepare(self, box: LocalSandbox, command: Command) -> Prepared:
        program = seccomp.program(internet=True, own_ipc=True)  # the network namespace is its own
        passwd, group, filter_fd = (memory_file(data) for data in (PASSWD, GROUP, program))
        status, status_inside = os.pipe()
        options = [
            *_mounts(box, command, passwd, group),
            "--seccomp",
            str(filter_fd),
            "--json-status-fd",
            str(status_inside),
        ]
        args = memory_file(b"".join(os.fsencode(option) + b"\0" for option in options))
        argv = [
            *drop_root(box.uid),
            *resource_limits(box.spec, command.timeout),
            *(find_tool("bwrap"), "--args", str(args), "--"),
            *("/bin/bash", "-c", INNER, "sandbox", str(box.spec.processes), command.script),
        ]
        return Prepared(argv, (passwd, group, filter_fd, status_inside, args), status)

    def exit_code(self, status: bytes) -> int | None:
        """bwrap reports `exit-code` only if the command really ran."""
        codes = [said["exit-code"] for said in map(json.loads, status.splitlines()) if "exit-code" in said]
        return int(codes[-1]) if codes else None

    def clean_up(self, box: LocalSandbox, stopped: bool) -> None:
        """bwrap waits for its whole namespace; only where we killed bwrap itself, the rest may take a moment longer."""
        if stopped:
            end_all_in(box.folder)
            if os.getuid() == 0:
                end_all_of(box.uid)


def _mounts(box: LocalSandbox, command: Command, passwd: int, group: int) -> list[str]:
    """The order matters: what an agent can write is mounted last, so that no other mount lies below it."""
    place = box.spec.place
    options = [*ISOLATION, *(["--share-net"] if command.network else [])]
    variables = environment(box.spec, command, workspace=place, vault="/vault", home="/home/agent", tmp="/tmp")  # noqa: S108
    for name, value in variables.items():
        options += ["--setenv", name, value]
    options += ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib64"):
        options += _system_folder(name)
    options += ["--ro-bind-data", str(passwd), "/etc/passwd", "--ro-bind-data", str(group), "/etc/group"]
    for path in (*SYSTEM_FILES, *(NETWORK_FILES if command.network else ())):
        options += ["--ro-bind-try", path, path]
    options += ["--proc", "/proc", "--dev", "/dev"]
    for folder, size in MEMORY_FOLDERS.items():
        options += ["--size", str(size * MIB), "--tmpfs", folder]
    options += ["--remount-ro", "/dev"]
    for where, host in {**_installer_folders(command), **box.spec.readonly}.items():
        options += ["--ro-bind", str(host), where]
    if command.vault:
        options += ["--bind", str(box.vault), "/vault"]
    return [*options, "--bind", str(box.workspace), place, "--remount-ro", "/", "--chdir", place]


def _system_folder(name: str) -> list[str]:
    """/bin and its like are links into /usr on merged systems, folders of their own on others."""
    path = Path("/", name)
    if path.is_symlink():
        return ["--symlink", f"usr/{name}", f"/{name}"]
    return ["--ro-bind", str(path), str(path)] if path.is_dir() else []


def _installer_folders(command: Command) -> dict[str, Path]:
    """A local folder of packages that this host's pip uses, for set-up commands only; never a whole top-level folder."""
    folders = [Path(os.environ.get(name, "")) for name in INSTALLER_FOLDERS] if command.network else []
    return {
        str(folder): folder for folder in folders if len(folder.parts) > 2 and folder.is_absolute() and folder.is_dir()
    }

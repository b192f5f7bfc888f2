"""The first local provider: bubblewrap. Each command is a fresh set of namespaces around the sandbox's folder. See reference §2."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from ..ports import Command, Sandbox, SandboxSpec
from . import seccomp
from .local import LocalSandbox, Prepared, drop_root_argv, environment, find_tool, limits_argv
from .process import Ended
from .slots import Slots, Uids

PASSWD = b"agent:x:1000:1000:agent:/home/agent:/bin/bash\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
GROUP = b"agent:x:1000:\nnogroup:x:65534:\n"
NETWORK_FILES = (
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/ssl",
    "/etc/gai.conf",
    "/usr/share/ca-certificates",
)
INSTALLER_FOLDERS = ("PIP_FIND_LINKS",)
INNER = 'prlimit --nproc="$1" -- /bin/bash -c "$2"; exit $?'


class BubblewrapProvider:
    """Sandboxes in folders below `root`, which must be passable (mode x) for other users when the worker is root."""

    name = "bubblewrap"
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


class _Launcher:
    end_signal = signal.SIGKILL

    def prepare(self, box: LocalSandbox, command: Command) -> Prepared:
        status_read, status_write = os.pipe()
        data = {"passwd": _memory(PASSWD), "group": _memory(GROUP), "seccomp": seccomp.as_file(internet=True)}
        options = _options(box, command, data, status_write)
        args = _memory(b"".join(os.fsencode(option) + b"\0" for option in options))
        fds = (*data.values(), status_write, args)
        argv = [
            *drop_root_argv(box.uid),
            *limits_argv(box.spec, command.timeout),
            find_tool("bwrap"),
            "--args",
            str(args),
            "--",
            *("/bin/bash", "-c", INNER, "sandbox", str(box.spec.processes), command.script),
        ]
        return Prepared(argv, {}, fds, status_read, fds)

    def exit_code(self, ended: Ended, status: bytes) -> int | None:
        """bwrap reports `exit-code` only if the command really ran."""
        for line in status.splitlines():
            said = json.loads(line)
            if "exit-code" in said:
                return int(said["exit-code"])
        return None

    def clean_up(self, box: LocalSandbox) -> None:
        """Nothing to do: when PID 1 of the namespace ends, everything in it has ended."""


def _options(box: LocalSandbox, command: Command, data: dict[str, int], status: int) -> list[str]:
    place = box.spec.place
    options = [
        *("--unshare-all", "--unshare-user", "--disable-userns", "--uid", "1000", "--gid", "1000"),
        *(
            "--hostname",
            "sandbox",
            "--die-with-parent",
            "--new-session",
            "--as-pid-1",
            "--cap-drop",
            "ALL",
            "--clearenv",
        ),
    ]
    if command.network:
        options.append("--share-net")
    for name, value in _environment(box, command).items():
        options += ["--setenv", name, value]
    options += ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib64"):
        options += _system_folder(name)
    options += [
        "--ro-bind-data",
        str(data["passwd"]),
        "/etc/passwd",
        "--ro-bind-data",
        str(data["group"]),
        "/etc/group",
    ]
    for path in (
        "/etc/ld.so.cache",
        "/etc/alternatives",
        "/etc/ssl/certs",
        *(NETWORK_FILES if command.network else ()),
    ):
        options += ["--ro-bind-try", path, path]
    options += ["--proc", "/proc", "--dev", "/dev"]
    for size, folder in ((512, "/tmp"), (256, "/home/agent"), (64, "/dev/shm")):  # noqa: S108
        options += ["--size", str(size * 1024 * 1024), "--tmpfs", folder]
    options += ["--remount-ro", "/dev"]
    for inside, host in {**_installer_folders(command), **box.spec.readonly}.items():
        options += ["--ro-bind", str(host), inside]
    if command.vault:
        options += ["--bind", str(box.vault), "/vault"]
    options += ["--bind", str(box.workspace), place, "--remount-ro", "/", "--chdir", place]
    return [*options, "--seccomp", str(data["seccomp"]), "--json-status-fd", str(status)]


def _environment(box: LocalSandbox, command: Command) -> dict[str, str]:
    return environment(box, command, workspace=box.spec.place, vault="/vault", home="/home/agent", tmp="/tmp")  # noqa: S108


def _system_folder(name: str) -> list[str]:
    """/bin and its like are links into /usr on merged systems, folders of their own on others."""
    path = Path("/", name)
    if path.is_symlink():
        return ["--symlink", f"usr/{name}", f"/{name}"]
    return ["--ro-bind", str(path), str(path)] if path.is_dir() else []


def _installer_folders(command: Command) -> dict[str, Path]:
    """A local folder of packages that this host's pip uses, for set-up commands only."""
    folders = [os.environ.get(name, "") for name in INSTALLER_FOLDERS] if command.network else []
    return {folder: Path(folder) for folder in folders if folder.startswith("/") and Path(folder).is_dir()}


def _memory(data: bytes) -> int:
    fd = os.memfd_create("compymac")
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd

"""What both local providers share: a folder of its own per sandbox, one command at a time, results told apart, everything removed."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..errors import Cancelled, FileProblem, Permanent, Transient
from ..ports import Command, CommandResult, SandboxSpec
from .files import clean_path, read_inside, remove_tree, tree_bytes
from .process import Chain, Ended
from .slots import Slots, Uids, try_lock

BASE_PATH = ("/usr/local/bin", "/usr/bin", "/bin")
FREE_DISK = 256 * 1024 * 1024  # the host keeps this much, whatever a command wants
GIT_ENVIRONMENT = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0"}
WRITE = """
set -e
p={path}
d=.
while case "$p" in */*) true;; *) false;; esac; do
  d="$d/${{p%%/*}}"; p="${{p#*/}}"
  if [ -L "$d" ]; then echo "a part of the path is a link" >&2; exit 3; fi
  if [ ! -d "$d" ]; then mkdir -- "$d" || exit 3; fi
done
if [ -L "$d/$p" ]; then echo "it is a link" >&2; exit 3; fi
if [ -e "$d/$p" ] && [ ! -f "$d/$p" ]; then echo "it is not a regular file" >&2; exit 3; fi
if [ "$(stat -c %h -- "$d/$p" 2>/dev/null)" -gt 1 ] 2>/dev/null; then rm -f -- "$d/$p"; fi
cat > "$d/$p"
"""


@dataclass(frozen=True, slots=True)
class Prepared:
    """How a provider starts one command; `close_after` are descriptors that only the chain needs."""

    argv: Sequence[str]
    env: Mapping[str, str]
    pass_fds: Sequence[int] = ()
    status_fd: int | None = None
    close_after: Sequence[int] = ()


class Launcher(Protocol):
    """What differs between the providers."""

    end_signal: signal.Signals

    def prepare(self, box: LocalSandbox, command: Command) -> Prepared: ...

    def exit_code(self, ended: Ended, status: bytes) -> int | None:
        """The command's own exit code; None when the chain never got as far as the command."""

    def clean_up(self, box: LocalSandbox) -> None:
        """End whatever the command left running."""


class LocalSandbox:
    """One folder on this host with a workspace and a vault in it. See `ports.Sandbox`."""

    def __init__(self, launcher: Launcher, spec: SandboxSpec, root: Path, slots: Slots, uids: Uids | None) -> None:
        self.spec = spec
        self._launcher = launcher
        self._slots = slots
        self._lock = threading.Lock()
        self._running: Chain | None = None
        self.closed = False
        self.folder = root / f"box-{uuid.uuid4().hex[:12]}"
        self.folder.mkdir(mode=0o711)
        self._owner = try_lock(self.folder / "owner")
        self.uid, self._uid_fd = uids.take() if uids else (os.getuid(), None)
        self.workspace, self.vault, self.home = (self._make(name) for name in ("workspace", "vault", "home"))

    def _make(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir(mode=0o700)
        if self._uid_fd is not None:
            os.chown(folder, self.uid, self.uid)
        return folder

    # ---- the port

    def run(self, command: Command) -> CommandResult:
        with self._slots.turn(lambda: self.closed):
            prepared = self._launcher.prepare(self, command)
            status = b""
            try:
                chain = self._spawn(prepared)
            finally:
                for fd in prepared.close_after:
                    os.close(fd)
            try:
                ended = chain.wait(command.stdin, command.timeout, self._disk_limit)
            finally:
                self._running = None
                self._launcher.clean_up(self)
                status = _drain(prepared.status_fd)
        if self.closed:
            raise Cancelled("the sandbox was closed while its command ran")
        return self._result(ended, status)

    def read(self, path: str, max_bytes: int = 1_048_576) -> bytes:
        self._refuse_closed()
        if path.startswith("vault:"):
            return read_inside(self.vault, path.removeprefix("vault:"), max_bytes)
        return read_inside(self.workspace, path, max_bytes)

    def write(self, path: str, data: bytes) -> None:
        vault = path.startswith("vault:")
        path = path.removeprefix("vault:")
        clean_path(path)
        script = WRITE.format(path=shlex.quote(path))
        result = self.run(Command(f'cd "$VAULT"\n{script}' if vault else script, timeout=60, stdin=data, vault=vault))
        if not result.ok:
            raise FileProblem(
                f"{path[:200]!r} cannot be written: {result.stderr.strip()[-300:] or result.limit or 'refused'}"
            )

    def close(self) -> None:
        with self._lock:
            if self.closed:
                return
            self.closed = True
            running = self._running
        if running is not None:
            running.kill("closed")
        self._launcher.clean_up(self)
        remove_tree(self.folder)
        for fd in (self._owner, self._uid_fd):
            if fd is not None:
                os.close(fd)

    # ---- its parts

    def _spawn(self, prepared: Prepared) -> Chain:
        with self._lock:
            self._refuse_closed()
            chain = Chain(prepared.argv, prepared.env, prepared.pass_fds, self._launcher.end_signal)
            self._running = chain
            return chain

    def _refuse_closed(self) -> None:
        if self.closed:
            raise Cancelled("the sandbox is closed")

    def _disk_limit(self) -> str:
        allowed = self.spec.disk_mib * 1024 * 1024
        if tree_bytes(self.folder, allowed) > allowed:
            return "disk"
        with contextlib.suppress(OSError):
            if shutil.disk_usage(self.folder).free < FREE_DISK:
                return "disk"
        return ""

    def _result(self, ended: Ended, status: bytes) -> CommandResult:
        out, err = ended.stdout.text(), ended.stderr.text()
        if ended.stopped:
            limits = {"flood": "more than 64 MiB of output", "disk": f"more than {self.spec.disk_mib} MiB on disk"}
            limit = limits.get(ended.stopped, "")
            return CommandResult(None, out, err, ended.stopped == "time", limit, ended.duration, ended.whole)
        code = self._launcher.exit_code(ended, status)
        if code is None:
            raise Transient(f"the sandbox could not be set up: {err.strip()[-500:] or f'status {ended.returncode}'}")
        return CommandResult(code, out, err, False, limit_of(code), ended.duration, ended.whole)


def limit_of(code: int) -> str:
    """Which resource limit an exit code tells of."""
    named = {128 + signal.SIGXCPU: "processor time", 128 + signal.SIGXFSZ: "size of one file"}
    return named.get(code, "")


def limits_argv(spec: SandboxSpec, timeout: float) -> list[str]:
    """`prlimit` in front of the chain; the number of processes is limited inside (see reference §2)."""
    cpu = int(timeout * (os.cpu_count() or 1)) + 10
    return [
        find_tool("prlimit"),
        f"--fsize={spec.disk_mib * 1024 * 1024}",
        "--nofile=1024",
        "--core=0",
        f"--cpu={cpu}",
        "--memlock=65536",
        f"--as={spec.memory_mib * 1024 * 1024}",
    ]


def drop_root_argv(uid: int) -> list[str]:
    """`setpriv` when this process is root: a user id of its own for the sandbox, no groups, no new privileges."""
    if os.getuid() != 0:
        return []
    return [find_tool("setpriv"), f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs"]


def environment(
    box: LocalSandbox,
    command: Command,
    *,
    workspace: str,
    vault: str,
    home: str,
    tmp: str,
    mounted: Callable[[str], str] = str,
) -> dict[str, str]:
    """All that a command's environment holds; nothing of the worker's own. `MOUNT_<NAME>`: where a read-only folder is seen."""
    env = {
        "PATH": ":".join((*box.spec.path, *BASE_PATH)),
        "HOME": home,
        "TMPDIR": tmp,
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PWD": workspace,
        **GIT_ENVIRONMENT,
    }
    env |= {
        f"MOUNT_{Path(inside).name.upper()}": mounted(inside)
        for inside in box.spec.readonly
        if Path(inside).name.isalpha()
    }
    if command.vault:
        env["VAULT"] = vault
    if command.network:
        env |= {name: value for name, value in os.environ.items() if name in INSTALLER_VARIABLES and "@" not in value}
    return env


# where package installers find their index and its certificates on this host; a value with credentials in it is not passed
INSTALLER_VARIABLES = frozenset(
    [
        "PIP_INDEX_URL",
        "PIP_EXTRA_INDEX_URL",
        "PIP_FIND_LINKS",
        "PIP_CERT",
        "PIP_DEFAULT_TIMEOUT",
        "NPM_CONFIG_REGISTRY",
        "SSL_CERT_FILE",
    ]
)


def find_tool(name: str) -> str:
    """The absolute path of a system tool, never from the current directory. Raises Permanent with the package to install."""
    found = shutil.which(name, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    if found is None:
        package = {"bwrap": "bubblewrap", "setpriv": "util-linux", "prlimit": "util-linux"}.get(name, name)
        raise Permanent(f"{name} is not installed: apt-get install {package}")
    return found


def _drain(fd: int | None) -> bytes:
    if fd is None:
        return b""
    try:
        os.set_blocking(fd, False)
        with contextlib.suppress(BlockingIOError):
            return os.read(fd, 65536)
        return b""
    finally:
        os.close(fd)

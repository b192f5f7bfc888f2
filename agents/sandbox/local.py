"""What both local providers share: a folder of its own per sandbox, one command at a time, results told apart, everything removed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import shutil
import signal
import threading
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from ..errors import Cancelled, FileProblem, Transient
from ..ports import Command, CommandResult, SandboxSpec
from .files import clean_path, read_inside, remove_tree, too_much
from .leftovers import end_all_in
from .limits import MIB, limit_of, refusal
from .process import TIME, Chain, Ended, Prepared
from .slots import Slots, Uids, try_lock

UNFINISHED_AFTER = 60.0  # seconds after which a folder without an owner's lock is no longer one that is just being made
CLOSES_WITHIN = 15.0  # seconds: a killed chain's end, its leftovers, its folder
FREE_DISK = 256 * MIB  # the host keeps this much, whatever a command wants
WRITE = """set -e
p=%s
d=.
while case "$p" in */*) true;; *) false;; esac; do
  d="$d/${p%%%%/*}"; p="${p#*/}"
  if [ -L "$d" ]; then echo "a part of the path is a link" >&2; exit 3; fi
  if [ ! -d "$d" ]; then mkdir -- "$d" || exit 3; fi
done
if [ -L "$d/$p" ]; then echo "it is a link" >&2; exit 3; fi
if [ -e "$d/$p" ] && [ ! -f "$d/$p" ]; then echo "it is not a regular file" >&2; exit 3; fi
if [ "$(stat -c %%h -- "$d/$p" 2>/dev/null)" -gt 1 ] 2>/dev/null; then rm -f -- "$d/$p"; fi
cat > "$d/$p"
"""


class Launcher(Protocol):
    """What differs between the providers."""

    end_signal: signal.Signals

    def prepare(self, box: LocalSandbox, command: Command) -> Prepared: ...

    def exit_code(self, status: bytes) -> int | None:
        """The command's own exit code; None when the chain never got as far as the command."""

    def clean_up(self, box: LocalSandbox, stopped: bool) -> None:
        """End whatever is left of a command; `stopped`: it was ended by us."""


class LocalSandbox:
    """One folder on this host with a workspace and a vault in it. See `ports.Sandbox`."""

    def __init__(self, launcher: Launcher, spec: SandboxSpec, root: Path, slots: Slots, uids: Uids | None) -> None:
        self.spec = spec
        self.closed = False
        self.gone = False
        self._close_ended = threading.Event()
        self._launcher = launcher
        self._slots = slots
        self._one_at_a_time = threading.Lock()
        self._lock = threading.Lock()
        self._running: Chain | None = None
        self._uid_fd: int | None = None
        try:
            self.folder, self._owner = _new_folder(root)
            self._free_at_first = shutil.disk_usage(self.folder).free
            self.uid, self._uid_fd = uids.take() if uids else (os.getuid(), None)
            self.workspace, self.vault, self.home = (self.make(name) for name in ("workspace", "vault", "home"))
        except OSError as error:
            raise Transient(f"no sandbox can be made below {root}: {error}") from error

    def make(self, name: str) -> Path:
        """An empty folder that the sandbox's user owns."""
        folder = self.folder / name
        folder.mkdir(mode=0o700)
        if self._uid_fd is not None:
            os.chown(folder, self.uid, self.uid)
        return folder

    # ---- the port

    def run(self, command: Command) -> CommandResult:
        if refused := refusal(command.script):
            return CommandResult(126, stderr=refused)
        with self._one_at_a_time, self._slots.turn(lambda: self.closed):
            self._refuse_closed()
            try:
                ended, status = self._run(command)
            except OSError as error:
                self._refuse_closed()
                raise Transient(f"the command could not be started: {error}") from error
        if self.closed:
            raise Cancelled("the sandbox was closed while its command ran")
        return self._result(ended, status)

    def read(self, path: str, max_bytes: int = 1_048_576) -> bytes:
        self._refuse_closed()
        if path.startswith("vault:"):
            return read_inside(self.vault, path.removeprefix("vault:"), max_bytes)
        return read_inside(self.workspace, path, max_bytes)

    def write(self, path: str, data: bytes) -> None:
        """By a process in the sandbox: whatever links an agent has made lead nowhere but where its own commands could write."""
        vault = path.startswith("vault:")
        path = path.removeprefix("vault:")
        clean_path(path)
        script = ('cd "$VAULT" || exit\n' if vault else "") + WRITE % shlex.quote(path)
        result = self.run(Command(script, timeout=60, stdin=data, vault=vault))
        if not result.ok:
            why = result.stderr.strip()[-300:] or result.limit or "it took too long"
            raise FileProblem(f"{path[:200]!r} cannot be written: {why}")

    def close(self) -> None:
        """Whoever comes second waits until the first has done it: afterwards it is gone."""
        with self._lock:
            second, self.closed = self.closed, True
            running = self._running
        if second:
            self._close_ended.wait(CLOSES_WITHIN)
            return
        try:
            if running is not None:
                running.kill("closed")
                running.over.wait(5)
            self._launcher.clean_up(self, stopped=running is not None)
            remove_tree(self.folder)
            self.gone = True
        finally:
            for fd in (self._owner, self._uid_fd):
                if fd is not None:
                    os.close(fd)
            self._close_ended.set()

    # ---- its parts

    def _run(self, command: Command) -> tuple[Ended, bytes]:
        prepared = self._launcher.prepare(self, command)
        try:
            try:
                chain = self._spawn(prepared, command)
            finally:
                for fd in prepared.inherited:
                    os.close(fd)
            try:
                ended = chain.wait(command.timeout, self._disk_limit)
            finally:
                self._running = None
                self._launcher.clean_up(self, stopped=chain.stopped)
            return self._look_again(ended), _what_is_there(prepared.status)
        finally:
            os.close(prepared.status)

    def _spawn(self, prepared: Prepared, command: Command) -> Chain:
        with self._lock:
            self._refuse_closed()
            self._running = Chain(prepared, command.stdin, self.uid, self._launcher.end_signal)
            return self._running

    def _refuse_closed(self) -> None:
        if self.closed:
            raise Cancelled("the sandbox is closed")

    def _disk_limit(self) -> str:
        if struck := too_much(self.folder, self.spec.disk_mib):
            return struck
        return "the host's disk is full" if shutil.disk_usage(self.folder).free < FREE_DISK else ""

    def _look_again(self, ended: Ended) -> Ended:
        """A quick command ends before the watcher's first look; look again if the host lost much room since we began."""
        lost = self._free_at_first - shutil.disk_usage(self.folder).free
        if ended.stopped or lost < self.spec.disk_mib * MIB / 2:
            return ended
        return replace(ended, stopped=self._disk_limit())

    def _result(self, ended: Ended, status: bytes) -> CommandResult:
        out, err = ended.stdout.text(), ended.stderr.text()
        if ended.stopped:
            late = ended.stopped == TIME
            return CommandResult(None, out, err, late, "" if late else ended.stopped, ended.duration, ended.whole)
        code = self._launcher.exit_code(status)
        if code is None:
            raise Transient(f"the sandbox could not be set up: {err.strip()[-500:] or f'status {ended.returncode}'}")
        return CommandResult(code, out, err, False, limit_of(code, self.spec), ended.duration, ended.whole)


def sweep_folders(root: Path) -> int:
    """Remove what workers that were killed have left; a living one holds the lock of its folder. How many there were."""
    return sum(_removed_if_dead(folder) for folder in root.glob("box-*"))


def left_folders(root: Path) -> list[Path]:
    """What a sweep would remove now: nobody who lives owns it. Looks only."""
    return [folder for folder in root.glob("box-*") if not _is_owned(folder)]


def _is_owned(folder: Path) -> bool:
    try:
        fd = os.open(folder / "owner", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return _is_new(folder)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except OSError:
        return True
    finally:
        os.close(fd)


def _is_new(folder: Path) -> bool:
    """It may be in the making; or it is gone by now."""
    try:
        return time.time() - folder.stat().st_mtime < UNFINISHED_AFTER
    except OSError:
        return True


def _removed_if_dead(folder: Path) -> bool:
    try:
        fd = os.open(folder / "owner", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return _removed_if_unfinished(folder)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        end_all_in(folder)
        remove_tree(folder)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)


def _removed_if_unfinished(folder: Path) -> bool:
    """Its owner died while making or removing it, unless it is only a moment old."""
    if _is_new(folder):
        return False
    end_all_in(folder)
    remove_tree(folder)
    return True


def _new_folder(root: Path) -> tuple[Path, int]:
    """A folder and the lock that says its owner lives. A sweep may be faster between the two; then another folder is made."""
    while True:
        folder = root / f"box-{uuid.uuid4().hex[:12]}"
        folder.mkdir(mode=0o711)
        folder.chmod(0o711)  # whatever the umask
        with contextlib.suppress(FileNotFoundError):
            if (lock := try_lock(folder / "owner")) is not None:
                return folder, lock


def _what_is_there(pipe: int) -> bytes:
    os.set_blocking(pipe, False)
    try:
        return os.read(pipe, 65536)
    except BlockingIOError:
        return b""

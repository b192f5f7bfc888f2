"""Host-wide turns: SANDBOX_PARALLEL commands at once over all worker processes, by locks on files (freed when their holder dies)."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import Cancelled
from .leftovers import end_all_of


def own_folder(name: str) -> Path:
    """A private folder of this user in the host's temporary folder."""
    folder = Path(tempfile.gettempdir()) / f"compymac-{name}-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to somebody else")
    return folder


def try_lock(path: Path) -> int | None:
    """A descriptor that holds the lock, or None when somebody else does."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd


class Slots:
    """A semaphore over processes."""

    def __init__(self, count: int | None = None) -> None:
        self.count = count or 2 * (os.cpu_count() or 1)
        self._folder = own_folder("slots")

    @contextmanager
    def turn(self, given_up: Callable[[], bool]) -> Iterator[None]:
        """Wait for a slot; raises Cancelled when `given_up` says so meanwhile."""
        wait = 0.005
        while (fd := self._take()) is None:
            if given_up():
                raise Cancelled("closed while it waited for its turn")
            time.sleep(wait)
            wait = min(wait * 1.5, 0.1)
        try:
            yield
        finally:
            os.close(fd)

    def _take(self) -> int | None:
        for number in range(self.count):
            if (fd := try_lock(self._folder / f"slot-{number}")) is not None:
                return fd
        return None


class Uids:
    """A user id of its own for each sandbox of a worker that runs as root; two processes never share one."""

    FIRST, COUNT = 200_000, 2_000

    def __init__(self) -> None:
        self._folder = own_folder("uids")

    def take(self) -> tuple[int, int]:
        """(user id, descriptor that holds it). Nothing of an earlier life of the id runs any more."""
        for uid in range(self.FIRST, self.FIRST + self.COUNT):
            if (fd := try_lock(self._folder / str(uid))) is not None:
                end_all_of(uid)
                return uid, fd
        raise OSError(f"all {self.COUNT} user ids for sandboxes are in use")

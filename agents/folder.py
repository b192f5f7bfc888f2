"""A person's folder: its files as a tar for a sandbox, and what changed there put back, never through a link, never into `.git`."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from .errors import FileProblem, Permanent
from .sandbox.files import FOLDER, clean_path

LARGEST = 256 * 1024 * 1024
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
WRITE = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Packed:
    """The files as they were: `seen` maps each name to what it held."""

    tar: bytes
    seen: Mapping[str, str]


def pack(folder: Path) -> Packed:
    """Regular files and links, without any `.git`. Raises Permanent when it is too much or cannot be read."""
    seen: dict[str, str] = {}
    data, total = io.BytesIO(), 0
    with tarfile.open(fileobj=data, mode="w") as archive:
        for path in _files(folder):
            name = path.relative_to(folder).as_posix()
            entry = tarfile.TarInfo(name)
            info = path.lstat()
            if stat.S_ISLNK(info.st_mode):
                entry.type, entry.linkname = tarfile.SYMTYPE, str(path.readlink())
                archive.addfile(entry)
            elif stat.S_ISREG(info.st_mode):
                total += info.st_size
                if total > LARGEST:
                    raise Permanent(f"{folder} holds more than {LARGEST // (1024 * 1024)} MiB; name a smaller folder")
                content = _content(path)
                entry.size, entry.mode = len(content), info.st_mode & 0o777 | 0o600
                seen[name] = _mark(content, entry.mode)
                archive.addfile(entry, io.BytesIO(content))
    return Packed(data.getvalue(), seen)


def put_back(folder: Path, before: Packed, tar: bytes) -> list[str]:
    """Write changed and new regular files, remove those that are gone; links made by an agent stay behind. Returns the names."""
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        members = {entry.name.removeprefix("./"): entry for entry in archive}
        gone = sorted(name for name in before.seen if name not in members or members[name].isdir())
        for name in gone:
            _remove(folder, name)
        changed = []
        for name, entry in sorted(members.items()):
            opened = archive.extractfile(entry) if entry.isreg() and not _is_git(name) else None
            content = opened.read() if opened is not None else b""
            if opened is not None and before.seen.get(name) != _mark(content, entry.mode):
                _write(folder, name, content, executable=bool(entry.mode & 0o100))
                changed.append(name)
    return [*gone, *changed]


def _files(folder: Path) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        raise Permanent(f"{error.filename} cannot be read: {error.strerror}")

    for place, folders, files in os.walk(folder, onerror=unreadable):
        links = [name for name in folders if Path(place, name).is_symlink()]
        folders[:] = sorted(name for name in folders if not _is_git(name))
        yield from (Path(place, name) for name in sorted([*files, *links]) if not _is_git(name))


def _is_git(name: str) -> bool:
    return ".git" in name.lower().split("/")


def _content(path: Path) -> bytes:
    try:
        with os.fdopen(os.open(path, READ), "rb") as file:
            return file.read(LARGEST)
    except OSError as error:
        raise Permanent(f"{path} cannot be read: {error.strerror}") from error


def _mark(content: bytes, mode: int) -> str:
    return f"{sha256(content).hexdigest()}{'x' if mode & 0o100 else ''}"


@contextlib.contextmanager
def _place(folder: Path, name: str, *, make: bool) -> Iterator[tuple[int, str]]:
    """The open folder that holds `name`, reached without following a link. Raises FileProblem."""
    *folders, last = clean_path(name)
    here = os.open(folder, FOLDER)
    try:
        for part in folders:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=here)
            above, here = here, os.open(part, FOLDER, dir_fd=here)
            os.close(above)
        yield here, last
    except OSError as error:
        raise FileProblem(f"{name!r} cannot be put back into {folder}: {error.strerror}") from error
    finally:
        os.close(here)


def _write(folder: Path, name: str, content: bytes, *, executable: bool) -> None:
    with _place(folder, name, make=True) as (here, last):
        file = os.open(last, WRITE, 0o777 if executable else 0o666, dir_fd=here)
        with os.fdopen(file, "wb") as opened:
            mode = os.fstat(file).st_mode
            if not stat.S_ISREG(mode):
                raise FileProblem(f"{name!r} cannot be put back into {folder}: it is no regular file there")
            if bool(mode & 0o100) != executable:
                os.fchmod(file, mode & 0o777 | 0o111 if executable else mode & 0o666)
            opened.truncate()
            opened.write(content)


def _remove(folder: Path, name: str) -> None:
    """A file that is gone in the sandbox, and the folders that this leaves empty."""
    with contextlib.suppress(FileProblem), _place(folder, name, make=False) as (here, last):
        os.unlink(last, dir_fd=here)
    for parent in list(Path(name).parents)[:-1]:
        with contextlib.suppress(FileProblem), _place(folder, parent.as_posix(), make=False) as (here, last):
            os.rmdir(last, dir_fd=here)

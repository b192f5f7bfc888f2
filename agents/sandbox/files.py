"""Reading, measuring and removing what an agent left, from the host: by descriptors, never through a link. See reference §6."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import uuid
from pathlib import Path

from ..errors import FileProblem
from .limits import MIB

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # without NONBLOCK a FIFO would hang us
MOST_ENTRIES = 1_000_000


def clean_path(path: str) -> tuple[str, ...]:
    """The components of a relative path that leads nowhere else. Raises FileProblem."""
    parts = tuple(path.split("/"))
    if "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise FileProblem(
            f"{_shown(path)} is not a relative path in the workspace (no leading /, no . or .., no empty part)"
        )
    try:
        lengths = [len(os.fsencode(part)) for part in parts]
    except UnicodeEncodeError as error:
        raise FileProblem(f"{_shown(path)} has characters that no file name can have") from error
    if max(lengths) > 255 or sum(lengths) + len(lengths) > 4000:
        raise FileProblem(f"{_shown(path)} is too long for a path")
    return parts


def read_inside(root: Path, path: str, max_bytes: int) -> bytes:
    """The bytes of a regular file with one name, at most `max_bytes`. Raises FileProblem with what it is instead."""
    *folders, name = clean_path(path)
    try:
        here = os.open(root, FOLDER)
        try:
            for folder in folders:
                above, here = here, os.open(folder, FOLDER, dir_fd=here)
                os.close(above)
            file = os.open(name, FILE, dir_fd=here)
        finally:
            os.close(here)
        try:
            found = os.fstat(file)
            refuse_unusual(path, found.st_mode, found.st_nlink, found.st_size, max_bytes)
            with os.fdopen(file, "rb", closefd=False) as opened:
                data = opened.read(max_bytes + 1)
        finally:
            os.close(file)
    except OSError as error:
        raise unreadable(path, error) from error
    if len(data) > max_bytes:
        raise FileProblem(f"{_shown(path)} grew while it was read")
    return data


def refuse_unusual(path: str, mode: int, names: int, size: int, max_bytes: int) -> None:
    """Only a regular file with one name and not too many bytes is read. Raises FileProblem with what it is instead."""
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise FileProblem(f"{_shown(path)} is {kind}, not a regular file")
    if names > 1:
        raise FileProblem(f"{_shown(path)} has several names (hard links) and is not read")
    if size > max_bytes:
        raise FileProblem(f"{_shown(path)} has {size} bytes, more than the {max_bytes} that can be read at once")


def too_much(root: Path, mib: int) -> str:
    """Which limit of the disk a tree passes, or nothing. What vanished meanwhile or is closed to us counts as nothing."""
    total, entries, folders = 0, 0, [str(root)]
    while folders and total <= mib * MIB and entries <= MOST_ENTRIES:
        try:
            with os.scandir(folders.pop()) as found:
                for entry in found:
                    entries += 1
                    info = entry.stat(follow_symlinks=False)
                    total += info.st_blocks * 512
                    if stat.S_ISDIR(info.st_mode):
                        folders.append(entry.path)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return "folders nested too deep"
    if entries > MOST_ENTRIES:
        return f"more than {MOST_ENTRIES} files"
    return f"more than {mib} MiB on disk" if total > mib * MIB else ""


def remove_tree(root: Path) -> None:
    """Remove a tree whatever its modes and depth are: each folder found is lifted to the top, so nothing here recurses.

    Links are removed, never followed. What cannot be removed stays, without an error.
    """
    with contextlib.suppress(OSError):
        _make_passable(str(root), None)
        top = os.open(root, FOLDER)
        try:
            for _ in range(3):  # a process that is just dying may add something meanwhile
                while _empty(top, top):
                    pass
        finally:
            os.close(top)
        root.rmdir()


def _empty(folder: int, top: int) -> bool:
    """One pass over a folder: unlink what is no folder, lift or empty its folders. Whether there was any progress with folders."""
    progress = False
    for name in os.listdir(folder):
        try:
            os.unlink(name, dir_fd=folder)
        except IsADirectoryError:
            _make_passable(name, folder)
            with contextlib.suppress(OSError):
                progress |= _lift(name, folder, top)
        except OSError:
            continue
    return progress


def _lift(name: str, folder: int, top: int) -> bool:
    if folder != top:
        os.rename(name, uuid.uuid4().hex, src_dir_fd=folder, dst_dir_fd=top)
        return True
    inner = os.open(name, FOLDER, dir_fd=top)
    try:
        progress = _empty(inner, top)
    finally:
        os.close(inner)
    with contextlib.suppress(OSError):
        os.rmdir(name, dir_fd=top)
        return True
    return progress


def _make_passable(name: str, folder: int | None) -> None:
    """For an ordinary user; root passes anyway, and must not be lured into changing what a link points to."""
    if os.getuid() != 0:
        with contextlib.suppress(OSError):
            os.chmod(name, 0o700, dir_fd=folder)


def _shown(path: str) -> str:
    return repr(path[:200])


def unreadable(path: str, error: OSError) -> FileProblem:
    """What the system said about a path, in words for a model."""
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        why = "a part of it is a link or not a folder, and links are not followed"
    else:
        why = (error.strerror or type(error).__name__).lower()
    return FileProblem(f"{_shown(path)} cannot be read: {why}")

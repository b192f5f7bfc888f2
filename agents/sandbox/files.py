"""Reading and removing what an agent left, from the host: by directory descriptors, never through a link. See reference §6."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from pathlib import Path

from ..errors import FileProblem


def clean_path(path: str) -> tuple[str, ...]:
    """The components of a relative path that leads nowhere else. Raises FileProblem."""
    parts = tuple(path.split("/"))
    if not path or "\0" in path or path.startswith("/") or any(part in ("", ".", "..") for part in parts):
        raise FileProblem(
            f"{_shown(path)} is not a relative path inside the workspace (no leading /, no .., no empty part)"
        )
    if len(path.encode("utf-8", "surrogatepass")) > 4000 or any(
        len(part.encode("utf-8", "replace")) > 255 for part in parts
    ):
        raise FileProblem(f"{_shown(path)} is too long for a path")
    return parts


def read_inside(root: Path, path: str, max_bytes: int) -> bytes:
    """The bytes of a regular file with one name, at most `max_bytes`. Raises FileProblem with what it is instead."""
    parts = clean_path(path)
    opened: list[int] = []
    try:
        folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        opened.append(folder)
        for part in parts[:-1]:
            folder = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            opened.append(folder)
        file = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        opened.append(file)
        return _read_regular(file, path, max_bytes)
    except OSError as error:
        raise FileProblem(f"{_shown(path)} cannot be read: {_why(error)}") from error
    finally:
        for fd in opened:
            os.close(fd)


def _read_regular(fd: int, path: str, max_bytes: int) -> bytes:
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        raise FileProblem(f"{_shown(path)} is not a regular file")
    if found.st_nlink > 1:
        raise FileProblem(f"{_shown(path)} has several names (hard links) and is not read")
    if found.st_size > max_bytes:
        raise FileProblem(
            f"{_shown(path)} has {found.st_size} bytes, more than the {max_bytes} that can be read at once"
        )
    with os.fdopen(os.dup(fd), "rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise FileProblem(f"{_shown(path)} grew while it was read")
    return data


def tree_bytes(root: Path, stop_above: int) -> int:
    """How much disk a tree takes, counted until it is more than `stop_above`; what cannot be seen counts as nothing."""
    total, folders = 0, [str(root)]
    while folders and total <= stop_above:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    found = entry.stat(follow_symlinks=False)
                    total += found.st_blocks * 512
                    if stat.S_ISDIR(found.st_mode):
                        folders.append(entry.path)
    return total


def remove_tree(root: Path) -> None:
    """Remove a tree whatever its modes are. Links are removed, never followed."""

    def open_up(function: object, path: str, error: BaseException) -> None:
        parent = os.path.dirname(path)  # noqa: PTH120 - shutil hands strings
        for place in (parent, path):
            with contextlib.suppress(OSError):
                if stat.S_ISDIR(os.lstat(place).st_mode):
                    os.chmod(place, 0o700)  # noqa: PTH101
        with contextlib.suppress(OSError):
            if stat.S_ISDIR(os.lstat(path).st_mode):
                shutil.rmtree(path, ignore_errors=True)
            else:
                os.unlink(path)  # noqa: PTH108

    def open_up_old(function: object, path: str, info: tuple[type, BaseException, object]) -> None:
        open_up(function, path, info[1])

    for _ in range(3):
        if not root.exists():
            return
        shutil.rmtree(root, onerror=open_up_old)


def _shown(path: str) -> str:
    return repr(path[:200])


def _why(error: OSError) -> str:
    if error.errno in (40, 20):  # ELOOP: a link; ENOTDIR: a part of the path is a file or a link
        return "a part of it is a link or not a folder, and links are not followed"
    return (error.strerror or type(error).__name__).lower()

"""Bytes on their way: cut for the files API, joined and compared by sha256 on the other side; host folders as a tar."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import Permanent, SandboxLost
from ..limits import MIB
from .protocol import IN_LINE, Staged, part_name, parts_of

LARGEST_FOLDER = 512 * MIB

Upload = Callable[[str, bytes], None]
Download = Callable[[str], bytes]


def send(marker: str, data: bytes, upload: Upload) -> dict[str, Any]:
    """What an order says about its bytes: themselves, or the parts that were uploaded beside the runner."""
    if len(data) <= IN_LINE:
        return {"data": base64.b64encode(data).decode()}
    parts = parts_of(data)
    for number, part in enumerate(parts):
        upload(part_name("in", marker, number), part)
    return {"parts": len(parts), "sha256": hashlib.sha256(data).hexdigest()}


def fetch(marker: str, staged: Staged, download: Download) -> bytes:
    """Raises SandboxLost when what came is not what was staged."""
    data = b"".join(download(part_name("out", marker, number)) for number in range(staged.parts))
    if len(data) != staged.size or hashlib.sha256(data).hexdigest() != staged.sha256:
        raise SandboxLost(f"a file of {staged.size} bytes did not leave the sandbox whole (sha256)")
    return data


def packed(folder: Path) -> bytes:
    """A host folder as a tar: names as bytes, links as links, everything root's. Raises Permanent when it is too large."""
    data, total = io.BytesIO(), 0
    with tarfile.open(
        fileobj=data, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape"
    ) as archive:
        for place, folders, files in os.walk(folder, followlinks=False):
            for name in sorted((*folders, *files)):
                path = Path(place, name)
                entry = archive.gettarinfo(str(path), arcname=str(path.relative_to(folder)))
                if entry is None:  # a socket
                    continue
                entry.uid = entry.gid = 0
                entry.uname = entry.gname = ""
                entry.mode = _readable(path.lstat().st_mode)
                total += entry.size
                if total > LARGEST_FOLDER:
                    raise Permanent(
                        f"{folder} holds more than {LARGEST_FOLDER // MIB} MiB, too much to push into each VM: "
                        "put its tools into the template of the locale2b service"
                    )
                _add(archive, entry, path)
    return data.getvalue()


def _add(archive: tarfile.TarFile, entry: tarfile.TarInfo, path: Path) -> None:
    if entry.isreg():
        with path.open("rb") as file:
            archive.addfile(entry, file)
    elif entry.isdir() or entry.issym() or entry.islnk():
        archive.addfile(entry)


def _readable(mode: int) -> int:
    runnable = 0o111 if stat.S_ISDIR(mode) or mode & 0o100 else 0
    return 0o444 | runnable | (mode & 0o200)

"""Bytes into the VM and out of it: parts are joined and cut, files read and written by their names as bytes, no link ever followed."""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from typing import Any

HOME = os.path.dirname(os.path.abspath(sys.argv[0]))  # of the zip
VAULT = os.path.join(HOME, "vault")
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
TO_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
TO_WRITE = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

Order = dict[str, Any]


def keep(path: str, said: Order) -> None:
    with open(f"{path}.half", "w") as file:
        json.dump(said, file)
    os.rename(f"{path}.half", path)


def loaded(path: str) -> Order:
    with open(path) as file:
        said: Order = json.load(file)
        return said


def given(order: Order, marker: str, target: str) -> bool:
    """Put what came with the order, or in parts beside us, into a file; False: it is not what was sent."""
    if "parts" not in order:
        with open(target, "wb") as file:
            file.write(base64.b64decode(order["data"]))
        return True
    digest = hashlib.sha256()
    with open(target, "wb") as joined:
        for number in range(order["parts"]):
            name = os.path.join(HOME, f"in-{marker}.{number}")
            with open(name, "rb") as part:
                while data := part.read(1 << 20):
                    digest.update(data)
                    joined.write(data)
            os.unlink(name)
    return bool(digest.hexdigest() == order["sha256"])


def staged(source: Any, marker: str, part: int) -> Order:
    """Cut into parts that the files API can carry."""
    digest, size, parts = hashlib.sha256(), 0, 0
    with source:
        while data := source.read(part):
            with open(os.path.join(HOME, f"out-{marker}.{parts}"), "wb") as file:
                file.write(data)
            digest.update(data)
            size, parts = size + len(data), parts + 1
    return {"size": size, "parts": parts, "sha256": digest.hexdigest()}


def read(marker: str, order: Order) -> Order:
    *folders, name = (base64.b64decode(part) for part in order["path"])
    here = os.open(VAULT if order["vault"] else order["place"], FOLDER)
    for folder in folders:
        here = os.open(folder, FOLDER, dir_fd=here)
    with os.fdopen(os.open(name, TO_READ, dir_fd=here), "rb") as opened:
        found = os.fstat(opened.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or found.st_size > order["most"]:
            return {"state": "unusual", "mode": found.st_mode, "names": found.st_nlink, "size": found.st_size}
        if found.st_size > order["inline"]:
            return {"state": "staged", **staged(opened, marker, order["part"])}
        return {"state": "file", "data": base64.b64encode(opened.read(order["inline"])).decode()}


def write(marker: str, order: Order) -> Order:
    """As the sandbox's user: where its own commands could write, and nowhere else."""
    came = os.path.join(HOME, f"new-{marker}")
    if not given(order, marker, came):
        return {"state": "problem", "text": "the file did not arrive whole", "errno": 0}
    *folders, name = (base64.b64decode(part) for part in order["path"])
    with open(came, "rb") as source:
        os.unlink(came)
        here = os.open(VAULT if order["vault"] else order["place"], FOLDER)
        if user := order["user"]:
            os.setgroups([])
            os.setegid(user)
            os.seteuid(user)
        for folder in folders:
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, dir_fd=here)
            here = os.open(folder, FOLDER, dir_fd=here)
        return _write_at(here, name, source)


def _write_at(here: int, name: bytes, source: Any) -> Order:
    with contextlib.suppress(FileNotFoundError):
        found = os.lstat(name, dir_fd=here)
        if stat.S_ISLNK(found.st_mode):
            return {"state": "problem", "text": "it is a link", "errno": errno.ELOOP}
        if not stat.S_ISREG(found.st_mode):
            return {"state": "problem", "text": "it is not a regular file", "errno": 0}
        if found.st_nlink > 1:
            os.unlink(name, dir_fd=here)
    with os.fdopen(os.open(name, TO_WRITE, 0o666, dir_fd=here), "wb") as opened:
        opened.truncate()
        shutil.copyfileobj(source, opened)
    return {"state": "written"}


def mount(marker: str, order: Order) -> Order:
    """A host folder's tar at its place: root's own, so that the sandbox's user can read it and write nothing."""
    came = os.path.join(HOME, f"new-{marker}")
    if not given(order, marker, came):
        return {"state": "problem", "text": "the folder did not arrive whole", "errno": 0}
    os.makedirs(order["place"], exist_ok=True)
    tar = subprocess.run(["tar", "-x", "-f", came, "-C", order["place"]], capture_output=True, check=False)
    os.unlink(came)
    if tar.returncode:
        return {"state": "problem", "text": tar.stderr.decode("utf-8", "replace")[-300:], "errno": 0}
    return {"state": "mounted"}

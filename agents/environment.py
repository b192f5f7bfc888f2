"""A repository's own tools: its setup commands, run once in a sandbox with network, kept as a folder that sandboxes mount read-only.

The folder is the checkout after setup, at the same place where it is mounted later, since a virtual environment holds absolute paths.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import EnvironmentMissing, FileProblem
from .ports import Command, Sandbox, SandboxProvider, SandboxSpec
from .sandbox.files import remove_tree
from .survey import tracked_files
from .workspace import Workspace

PLACE = "/environment"
SETUP_TIMEOUT = 1800.0
_PYTHON = "requirements.txt requirements-dev.txt pyproject.toml setup.py setup.cfg poetry.lock uv.lock Pipfile.lock"
_OTHERS = "package.json package-lock.json yarn.lock pnpm-lock.yaml Cargo.lock Cargo.toml go.mod go.sum Gemfile.lock composer.lock"
LOCK_FILES = frozenset(f"{_PYTHON} {_OTHERS}".split())
TOOL_FOLDERS = (".venv/bin", "venv/bin", "node_modules/.bin")


@dataclass(frozen=True, slots=True)
class Built:
    """Mount `folder` read-only at `place` and put `path` in front of PATH."""

    place: str
    folder: Path
    path: tuple[str, ...]


def prepare_environment(
    provider: SandboxProvider, root: Path, setup: str, base: bytes, sha: str, repository: str
) -> Built:
    """The built folder for these commands and this commit's lock files; two workers never build the same one twice.

    Each repository has its own: a set-up runs what lies in it, and that must not be what another one's checks run.
    Raises EnvironmentMissing with the setup's output when it fails.
    """
    root = provider.scratch / "environments" if provider.scratch.is_dir() else root
    root.mkdir(parents=True, exist_ok=True)
    quick = root / f"commit-{_digest(repository, setup, sha)}"
    if quick.is_symlink() and quick.resolve().is_dir():
        return _built(quick.resolve())
    box = provider.open(SandboxSpec(label="environment", place=PLACE, memory_mib=8192, disk_mib=8192, processes=512))
    try:
        Workspace(box).open(base, None, sha)
        folder = root / _digest(repository, setup, _lock_contents(box))
        with _locked(root / f"{folder.name}.lock"):
            if not folder.is_dir():
                _build(box, setup, folder)
    finally:
        box.close()
    with contextlib.suppress(FileExistsError):
        quick.symlink_to(folder)
    return _built(folder)


def _build(box: Sandbox, setup: str, folder: Path) -> None:
    done = box.run(Command(f"set -e\n{setup}", timeout=SETUP_TIMEOUT, network=True))
    if not done.ok:
        how = "took too long" if done.timed_out else done.limit or f"ended with exit code {done.exit_code}"
        raise EnvironmentMissing(
            f"the repository's setup {how}; mend its commands (--setup). Its output:\n{done.output[-3000:]}"
        )
    place = box.run(Command("pwd")).stdout.strip()
    made = getattr(box, "workspace", None)
    if not isinstance(made, Path):
        raise EnvironmentMissing("this sandbox provider cannot keep a built environment; use --toolchain instead")
    half = folder.with_suffix(".half")
    remove_tree(half)
    os.rename(made, half)  # noqa: PTH104 - Path.rename would do the same
    _open_for_reading(half)
    if place != PLACE:
        _relocate(half, place, str(folder))
    half.rename(folder)


def _open_for_reading(root: Path) -> None:
    """Readable for every sandbox's user, writable for none; links are left alone."""
    for folder, _, files in os.walk(root, followlinks=False):
        for path in (Path(folder), *(Path(folder, name) for name in files)):
            found = path.lstat()
            if stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode):
                if os.getuid() == 0:
                    os.chown(path, 0, 0, follow_symlinks=False)
                runnable = 0o111 if stat.S_ISDIR(found.st_mode) or found.st_mode & 0o100 else 0
                path.chmod(0o444 | runnable | 0o200)


def _relocate(root: Path, old: str, new: str) -> None:
    """Scripts of a virtual environment name their interpreter by its absolute path; where the place differs, rewrite that line."""
    for tools in TOOL_FOLDERS:
        for script in (root / tools).glob("*") if (root / tools).is_dir() else ():
            if script.is_file() and not script.is_symlink() and script.stat().st_size < 1_000_000:
                data = script.read_bytes()
                first, newline, rest = data.partition(b"\n")
                if first.startswith(b"#!") and old.encode() in first:
                    script.write_bytes(first.replace(old.encode(), new.encode()) + newline + rest)


def _built(folder: Path) -> Built:
    return Built(PLACE, folder, tuple(f"{PLACE}/{name}" for name in TOOL_FOLDERS if (folder / name).is_dir()))


def _lock_contents(box: Sandbox) -> str:
    parts = []
    for path in tracked_files(box):
        if path.rsplit("/", 1)[-1] in LOCK_FILES:
            with contextlib.suppress(FileProblem):
                parts.append(f"{path}\0{hashlib.sha256(box.read(path, 8_388_608)).hexdigest()}")
    return "\n".join(parts)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)

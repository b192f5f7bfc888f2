"""The result on its way to the person: checked in two hops in repositories of ours, then fetched into a branch of theirs.

HEAD, index and work tree of the person's repository are never touched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

TIMEOUT = 300
SAFE = (
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "protocol.allow=never",
    "protocol.file.allow=always",
    "transfer.fsckObjects=true",
    "submodule.recurse=false",
    "fetch.writeCommitGraph=false",
    "gc.auto=0",
    "maintenance.auto=false",
)


class DeliveryProblem(Exception):
    """The result could not be handed over; the message says why, and nothing was changed."""


def deliver(quarantine: Path, repo: Path, bundles: Sequence[bytes], commit: str, branch: str) -> None:
    """Make `branch` in the person's repository point at `commit`, which the bundles (base first) hold. Raises DeliveryProblem."""
    quarantine.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=quarantine) as folder:
        clean = checked(Path(folder), bundles, commit)
        _git(
            repo,
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-recurse-submodules",
            "--no-write-fetch-head",
            str(clean),
            f"+{commit}:refs/heads/{branch}",
        )


def checked(folder: Path, bundles: Sequence[bytes], commit: str) -> Path:
    """A bare repository that holds `commit`, every object of it checked by git's fsck."""
    first, clean = folder / "first.git", folder / "clean.git"
    for place in (first, clean):
        _run(["git", "init", "--quiet", "--bare", str(place)], folder)
    for number, bundle in enumerate(bundles):
        path = folder / f"{number}.bundle"
        path.write_bytes(bundle)
        _git(first, "fetch", "--quiet", "--no-tags", str(path), f"+refs/*:refs/{number}/*")
    _git(first, "update-ref", "refs/heads/result", commit)
    _git(clean, "fetch", "--quiet", "--no-tags", str(first), "+refs/heads/result:refs/heads/result")
    return clean


def apply_patch(tree: Path, patch: bytes) -> None:
    """Put a patch on a person's work tree, all of it or nothing; the index is not touched. Raises DeliveryProblem."""
    for check in (["--check"], []):
        done = subprocess.run(
            ["git", "-C", str(tree), "apply", "--whitespace=nowarn", *check, "-"],
            input=patch,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip()[-500:]
            raise DeliveryProblem(f"the patch does not fit {tree} as it is now, so nothing was changed: {said}")


def _git(place: Path, *words: str) -> None:
    options = [word for setting in SAFE for word in ("-c", setting)]
    _run(["git", "-C", str(place), *options, *words], place)


def _run(argv: Sequence[str], place: Path) -> None:
    """git with an environment of its own: nobody's aliases, hooks or credentials."""
    env = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": "/nonexistent",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C.UTF-8",
    }
    if shutil.which("git", path=env["PATH"]) is None:
        raise DeliveryProblem("git is not installed here")
    try:
        done = subprocess.run(
            argv, env=env, capture_output=True, timeout=TIMEOUT, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DeliveryProblem(f"git could not work in {place}: {error}") from error
    if done.returncode:
        raise DeliveryProblem(
            done.stderr.decode("utf-8", "replace").strip()[-500:] or f"git ended with {done.returncode}"
        )

"""The result on its way to the person: checked in two hops in repositories of ours, then fetched into a branch of theirs.

HEAD, index and work tree of the person's repository are never touched.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

TIMEOUT = 300
SAFE = (
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.alternateRefsCommand=true",
    "protocol.allow=never",
    "protocol.file.allow=always",
    "fetch.prune=false",
    "fetch.writeCommitGraph=false",
    "submodule.recurse=false",
    "gc.auto=0",
    "maintenance.auto=false",
)
CHECKED = ("fetch.fsckObjects=true", "transfer.fsckObjects=true")
UNCHECKED = ("fetch.fsckObjects=false", "transfer.fsckObjects=false")
FETCH = ("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head")


class DeliveryProblem(Exception):
    """The result could not be handed over; the message says why, and nothing was changed."""


def deliver(quarantine: Path, repo: Path, bundles: Sequence[bytes], commit: str, branch: str) -> None:
    """Make `branch` in the person's repository point at `commit`, which the bundles (base first) hold. Raises DeliveryProblem."""
    if repo.resolve() != repo:
        raise DeliveryProblem(f"{repo} leads elsewhere by a link now")
    quarantine.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=quarantine) as folder:
        clean = checked(Path(folder), bundles, commit)
        _git(repo, CHECKED, *FETCH, str(clean), f"+{commit}:refs/heads/{branch}")


def checked(folder: Path, bundles: Sequence[bytes], commit: str) -> Path:
    """A bare repository that holds `commit`; every object that is not in the first bundle was checked by git's fsck.

    The first bundle is the person's own history, which may be old enough to fail today's rules. The others go by way of a second
    repository, since a git before 2.46 checks nothing that comes out of a bundle.
    """
    clean, first = folder / "clean.git", folder / "first.git"
    for place in (clean, first):
        _run(["git", "init", "--quiet", "--bare", "--template=", str(place)], folder)
    (first / "objects/info").mkdir(exist_ok=True)
    (first / "objects/info/alternates").write_text(f"{clean.resolve()}/objects\n")
    paths = [folder / f"{number}.bundle" for number in range(len(bundles))]
    for path, bundle in zip(paths, bundles, strict=True):
        path.write_bytes(bundle)
    _git(clean, UNCHECKED, *FETCH, str(paths[0]), "+refs/*:refs/0/*")
    for number, source in enumerate((clean, *paths[1:])):
        _git(first, UNCHECKED, *FETCH, str(source), f"+refs/*:refs/{number}/*")
    _git(first, (), "update-ref", "refs/heads/result", commit)
    _git(clean, CHECKED, *FETCH, str(first), "+refs/heads/result:refs/heads/result")
    return clean


def apply_patch(tree: Path, patch: bytes) -> None:
    """Put a patch on a person's work tree, all of it or nothing; the index is not touched. Raises DeliveryProblem."""
    apply = ["git", "-C", str(tree), "-c", "core.fsmonitor=false", "apply", "--whitespace=nowarn"]
    try:
        _run([*apply, "--check", "-"], tree, patch)
    except DeliveryProblem as problem:
        raise DeliveryProblem(
            f"the patch does not fit {tree} as it is now, so nothing was changed: {problem}"
        ) from problem
    _run([*apply, "-"], tree, patch)


def _git(place: Path, more: Sequence[str], *words: str) -> None:
    options = [word for setting in (*SAFE, *more) for word in ("-c", setting)]
    _run(["git", "-C", str(place), *options, *words], place)


def _run(argv: Sequence[str], place: Path, given: bytes = b"") -> None:
    """git with an environment of its own: nobody's aliases, hooks or credentials, and no repository above `place`."""
    env = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": "/nonexistent",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ALLOW_PROTOCOL": "file",  # stronger than any protocol.<name>.allow of the repository
        "GIT_CEILING_DIRECTORIES": str(place.resolve().parent),
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C.UTF-8",
    }
    try:
        done = subprocess.run(argv, env=env, input=given, capture_output=True, timeout=TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DeliveryProblem(f"git could not work in {place}: {error}") from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()[-500:]
        raise DeliveryProblem(said or f"git ended with {done.returncode}")

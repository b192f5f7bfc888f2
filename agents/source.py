"""A person's repository read as data: its objects and refs are copied, and git only runs on the copy, in a sandbox.

Its configuration, hooks and work tree are never used. One sentence for each kind of repository that cannot be taken.
"""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import Permanent
from .ports import Command, SandboxProvider, SandboxSpec

LARGEST_BUNDLE = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Source:
    """Where a goal starts: a commit, and a bundle that holds it with all of its history (ref refs/compymac/base)."""

    sha: str
    bundle: bytes
    warnings: tuple[str, ...] = ()


def read_source(provider: SandboxProvider, path: Path, ref: str) -> Source:
    """The commit that `ref` names (branch, tag, sha, HEAD). Raises Permanent with one clear sentence."""
    git_dir, common = locate(path)
    refuse_unusable(path, common)
    with _staged(provider.scratch, git_dir, common) as staging:
        box = provider.open(SandboxSpec(label="source", readonly={"/source": staging}))
        try:
            found = box.run(Command(_script(ref), timeout=600, vault=True))
            if found.exit_code == 3:
                raise Permanent(_unknown_ref(path, ref, found.stdout.split()))
            if not found.ok:
                raise Permanent(f"repository {path} cannot be read: {found.stderr.strip()[-400:] or found.limit}")
            sha, _, rest = found.stdout.partition("\n")
            return Source(sha.strip(), box.read("vault:base.bundle", LARGEST_BUNDLE), _warnings(rest))
        finally:
            box.close()


def empty_source(provider: SandboxProvider, when: int) -> Source:
    """An empty root commit, for goals without a repository."""
    box = provider.open(SandboxSpec(label="source"))
    try:
        script = f"""set -e
export GIT_DIR="$VAULT" GIT_AUTHOR_NAME=CompyMac GIT_AUTHOR_EMAIL=compymac@localhost GIT_AUTHOR_DATE="@{when} +0000"
export GIT_COMMITTER_NAME=CompyMac GIT_COMMITTER_EMAIL=compymac@localhost GIT_COMMITTER_DATE="@{when} +0000"
git init -q --bare "$VAULT"
tree=$(git hash-object -w -t tree /dev/null)
sha=$(echo "An empty repository" | git commit-tree "$tree")
git update-ref refs/compymac/base "$sha"
git bundle create -q "$VAULT/base.bundle" refs/compymac/base
echo "$sha\""""
        made = box.run(Command(script, timeout=60, vault=True))
        if not made.ok:
            raise Permanent(f"an empty repository could not be made: {made.stderr[-300:]}")
        return Source(made.stdout.strip(), box.read("vault:base.bundle", LARGEST_BUNDLE))
    finally:
        box.close()


def locate(path: Path) -> tuple[Path, Path]:
    """(git directory, the one with objects and refs): they differ in a linked work tree."""
    dot_git = path / ".git"
    if dot_git.is_file():
        target = dot_git.read_text(errors="replace").removeprefix("gitdir:").strip()
        git_dir = (path / target).resolve()
    elif dot_git.is_dir():
        git_dir = dot_git.resolve()
    else:
        raise Permanent(f"{path} is not a git repository's top folder (it has no .git)")
    common_file = git_dir / "commondir"
    common = (git_dir / common_file.read_text().strip()).resolve() if common_file.is_file() else git_dir
    if not (common / "objects").is_dir():
        raise Permanent(f"{path} is not a usable git repository: {common} has no objects")
    return git_dir, common


def refuse_unusable(path: Path, common: Path) -> None:
    """One sentence each, with what to do."""
    owner = common.stat().st_uid
    if owner not in {os.getuid(), int(os.environ.get("SUDO_UID", "-1") or -1)}:
        raise Permanent(
            f"repository {path} belongs to another user (uid {owner}): run the worker as that user, or clone it as yours"
        )
    if (common / "shallow").is_file() and (common / "shallow").stat().st_size:
        raise Permanent(
            f"repository {path} is shallow, so parts of its history are missing: run `git fetch --unshallow` there first"
        )
    if (common / "objects" / "info" / "alternates").is_file():
        raise Permanent(
            f"repository {path} borrows objects from another one: run `git repack -ad && rm .git/objects/info/alternates`"
        )
    if any((common / "objects" / "pack").glob("*.promisor")):
        raise Permanent(f"repository {path} is a partial clone, so objects are missing: clone it without --filter")
    if (common / "reftable").is_dir():
        raise Permanent(
            f"repository {path} stores its refs as reftable: run `git refs migrate --ref-format=files` there first"
        )


def local_changes(path: Path) -> int:
    """How many files of a person's own tree are not committed. Only for that person's own command line: it runs their git."""
    argv = [
        "git",
        "-c",
        "core.fsmonitor=false",
        "-c",
        "core.hooksPath=/dev/null",
        "-C",
        str(path),
        "status",
        "--porcelain",
        "-z",
    ]
    done = subprocess.run(argv, capture_output=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
    return sum(1 for entry in done.stdout.split(b"\0") if entry) if done.returncode == 0 else 0


def _script(ref: str) -> str:
    name = shlex.quote(f"{ref}^{{commit}}")
    return f"""set -e
export GIT_DIR="$VAULT"
git init -q --bare "$VAULT"
S="$MOUNT_SOURCE"
echo "$S/objects" > "$VAULT/objects/info/alternates"
cp -r "$S/refs" "$S/HEAD" "$VAULT/"
[ ! -f "$S/packed-refs" ] || cp "$S/packed-refs" "$VAULT/"
sha=$(git rev-parse --verify -q --end-of-options {name}) || {{
  git for-each-ref --count=8 --format='%(refname:short)' refs/heads refs/tags; exit 3
}}
git update-ref refs/compymac/base "$sha"
git bundle create -q "$VAULT/base.bundle" refs/compymac/base
echo "$sha"
git ls-tree -r "$sha" | awk '$2 == "commit" {{ sub(/^[^\\t]*\\t/, ""); print "submodule " $0 }}' | head -20
git grep -l -e 'filter=lfs' "$sha" -- ':(glob)**/.gitattributes' | head -1 | sed 's/.*/lfs/' || true
"""


def _unknown_ref(path: Path, ref: str, names: list[str]) -> str:
    if not names:
        return f"repository {path} has no commit yet: commit something there first"
    return f"repository {path} has no commit {ref!r}; it has, among others, {', '.join(names[:8])}"


def _warnings(said: str) -> tuple[str, ...]:
    lines = said.splitlines()
    modules = [line.removeprefix("submodule ") for line in lines if line.startswith("submodule ")]
    found = []
    if modules:
        found.append(f"submodules are not fetched, their folders stay empty: {', '.join(modules[:5])}")
    if "lfs" in lines:
        found.append("files in Git LFS are seen as pointers only, not with their content")
    return tuple(found)


@contextmanager
def _staged(scratch: Path, git_dir: Path, common: Path) -> Iterator[Path]:
    """HEAD, refs and objects where the sandbox's user can read them; regular files only, no link is followed."""
    staging = scratch / f"source-{uuid.uuid4().hex[:12]}"
    staging.mkdir(mode=0o755, parents=True)
    try:
        _take(git_dir / "HEAD", staging / "HEAD")
        if (common / "packed-refs").is_file():
            _take(common / "packed-refs", staging / "packed-refs")
        for name in ("refs", "objects"):
            _take_tree(common / name, staging / name)
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _take_tree(source: Path, target: Path) -> None:
    for folder, _, files in os.walk(source, followlinks=False):
        here = target / Path(folder).relative_to(source)
        here.mkdir(mode=0o755, exist_ok=True, parents=True)
        for name in files:
            _take(Path(folder, name), here / name)


def _take(source: Path, target: Path) -> None:
    """A hard link where that is possible and readable (objects never change), else a copy."""
    found = source.lstat()
    if not stat.S_ISREG(found.st_mode):
        return
    if found.st_mode & 0o004 and "objects" in target.parts:
        try:
            os.link(source, target)
        except OSError:
            pass
        else:
            return
    shutil.copyfile(source, target, follow_symlinks=False)
    target.chmod(0o644)

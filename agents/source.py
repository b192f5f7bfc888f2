"""A person's repository read as data: its objects and refs are copied, and git only runs on the copy, in a sandbox.

Its configuration, hooks and work tree are never used. One sentence for each kind of repository that cannot be taken.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import FileProblem, Permanent, Transient
from .ports import Command, SandboxProvider, SandboxSpec

LARGEST_BUNDLE = 512 * 1024 * 1024
UNKNOWN = 3  # how the script says that a ref names no commit
UNFINISHED = "tmp_"  # what another git is just writing


@dataclass(frozen=True, slots=True)
class Source:
    """Where a goal starts: a commit, and a bundle that holds it with all of its history (ref refs/compymac/base)."""

    sha: str
    bundle: bytes
    warnings: tuple[str, ...] = ()


def read_source(provider: SandboxProvider, path: Path, ref: str) -> Source:
    """The commit that `ref` names (branch, tag, sha, HEAD). Raises Permanent with one clear sentence."""
    try:
        git_dir, common = locate(path)
        refuse_unusable(path, common)
        with _staged(provider.scratch, git_dir, common) as staging:
            return _bundled(provider, staging, path, ref)
    except FileNotFoundError as error:
        raise Transient(f"repository {path} changed while it was read: {error.filename} vanished") from error
    except OSError as error:
        raise Permanent(f"repository {path} cannot be read: {error.strerror}: {error.filename}") from error


def _bundled(provider: SandboxProvider, staging: Path, path: Path, ref: str) -> Source:
    box = provider.open(SandboxSpec(label="source", readonly={"/source": staging}))
    try:
        found = box.run(Command(_script(ref), timeout=600, vault=True))
        if found.exit_code == UNKNOWN:
            raise Permanent(_unknown_ref(path, ref, found.stdout.split()))
        if not found.ok:
            how = "it takes too long" if found.timed_out else found.stderr.strip()[-400:] or found.limit
            raise Permanent(f"repository {path} cannot be read: {how}")
        sha, _, rest = found.stdout.partition("\n")
        return Source(sha, box.read("vault:base.bundle", LARGEST_BUNDLE), _warnings(rest))
    except FileProblem as problem:
        raise Permanent(
            f"the history of {path} at {ref!r} is larger than the {LARGEST_BUNDLE >> 20} MiB that can be taken over"
        ) from problem
    finally:
        box.close()


def empty_source(provider: SandboxProvider, when: int) -> Source:
    """An empty root commit, for goals without a repository."""
    box = provider.open(SandboxSpec(label="source"))
    try:
        script = f"""set -e
export GIT_DIR="$VAULT" GIT_AUTHOR_NAME=CompyMac GIT_AUTHOR_EMAIL=compymac@localhost GIT_AUTHOR_DATE="@{when} +0000"
export GIT_COMMITTER_NAME=CompyMac GIT_COMMITTER_EMAIL=compymac@localhost GIT_COMMITTER_DATE="@{when} +0000"
git init -q --bare --template= "$VAULT"
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
    """(git directory, the one with objects and refs): they differ in a linked work tree.

    A `.git` that leads elsewhere is followed only where that place says so too: else whoever makes such a file could have any
    repository read that we may read.
    """
    dot_git = path / ".git"
    if path.resolve() != path:  # it was not, when somebody was asked whether it may be read
        raise Permanent(f"{path} leads elsewhere by a link: name the real repository")
    if dot_git.is_symlink() or (dot_git / "objects").is_symlink() or (dot_git / "commondir").exists():
        raise Permanent(f"{dot_git} leads elsewhere by a link: name the real repository")
    if dot_git.is_dir():
        git_dir = common = dot_git.resolve()
    elif dot_git.is_file():
        git_dir, common = _linked(dot_git)
    else:
        above = next((str(folder) for folder in path.parents if (folder / ".git").exists()), "")
        hint = f"; did you mean {above}?" if above else ": run `git init` and commit there first"
        raise Permanent(f"{path} is not a git repository's top folder (it has no .git){hint}")
    if not (common / "objects").is_dir():
        raise Permanent(f"{path} is not a usable git repository: {common} has no objects")
    return git_dir, common


def _linked(dot_git: Path) -> tuple[Path, Path]:
    """Where the `.git` file of a linked work tree or a submodule points, if that place points back."""
    git_dir = (dot_git.parent / _line(dot_git).removeprefix("gitdir:").strip()).resolve()
    if (git_dir / "gitdir").is_file():
        common = git_dir.parent.parent
        back = (git_dir / _line(git_dir / "gitdir")).resolve() if git_dir.parent.name == "worktrees" else None
    else:
        common = git_dir
        found = re.search(r"^\s*worktree\s*=\s*(.+)$", _text(git_dir / "config"), re.MULTILINE)
        back = (git_dir / found[1].strip() / ".git").resolve() if found else None
    if back != dot_git.resolve():
        raise Permanent(f"{dot_git} names {git_dir}, which does not name it back: name the repository that owns it")
    return git_dir, common


def _line(path: Path) -> str:
    return _text(path).partition("\n")[0]


def _text(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return file.read(65_536).decode("utf-8", "surrogateescape")


def refuse_unusable(path: Path, common: Path) -> None:
    """One sentence each, with what to do."""
    owner, objects = common.stat().st_uid, common / "objects"
    sha256 = re.search(r"^\s*objectformat\s*=\s*sha256", _text(common / "config"), re.MULTILINE | re.IGNORECASE)
    for is_so, why in (
        (
            owner != os.getuid(),
            f"belongs to another user (uid {owner}): run the worker as that user, or clone it as yours",
        ),
        (
            _text(common / "shallow"),
            "is shallow, so parts of its history are missing: run `git fetch --unshallow` there first",
        ),
        (
            _text(objects / "info/alternates"),
            "borrows objects from another one: run `git repack -ad && rm .git/objects/info/alternates` there first",
        ),
        (
            any((objects / "pack").glob("*.promisor")),
            "is a partial clone, so objects are missing: clone it without --filter",
        ),
        (
            (common / "reftable").is_dir(),
            "stores its refs as reftable: run `git refs migrate --ref-format=files` there first",
        ),
        (sha256, "names its objects by SHA-256, which is not supported: convert it to SHA-1"),
    ):
        if is_so:
            raise Permanent(f"repository {path} {why}")


def local_changes(path: Path) -> int:
    """How many files of a person's own tree are not committed. Only for that person's own command line: it runs their git."""
    return _own_git(path, "status", "--porcelain", "-z", "--untracked-files=all").count("\0")


def local_commit(path: Path, ref: str) -> str:
    """The short name of the commit that `ref` is now, empty if there is none. Only for that person's own command line."""
    return _own_git(path, "rev-parse", "--short", "--verify", "-q", "--end-of-options", f"{ref}^{{commit}}").strip()


def _own_git(path: Path, *words: str) -> str:
    settings = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "status.renames=false")
    argv = ["git", *settings, "-C", str(path), *words]
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(argv, capture_output=True, timeout=60, check=False, stdin=subprocess.DEVNULL, env=env)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


def _script(ref: str) -> str:
    return f"""set -eo pipefail
export GIT_DIR="$VAULT" GIT_NO_REPLACE_OBJECTS=1
git init -q --bare --template= "$VAULT"
S="$MOUNT_SOURCE"
mkdir -p "$VAULT/objects/info"
echo "$S/objects" > "$VAULT/objects/info/alternates"
cp -r "$S/refs" "$S/HEAD" "$VAULT/"
[ ! -f "$S/packed-refs" ] || cp "$S/packed-refs" "$VAULT/"
sha=$(git rev-parse --verify -q --end-of-options {shlex.quote(ref + "^{commit}")}) || {{
  git rev-parse --verify -q --end-of-options "HEAD^{{commit}}" >/dev/null && echo HEAD
  git for-each-ref --count=8 --format='%(refname:short)' refs/heads refs/remotes refs/tags
  exit {UNKNOWN}
}}
git update-ref refs/compymac/base "$sha"
git bundle create -q "$VAULT/base.bundle" refs/compymac/base
echo "$sha"
git ls-tree -r "$sha" | sed -n 's/^160000 [^\t]*\t/submodule /p' | sed -n 1,20p
git grep -q -e 'filter=lfs' "$sha" -- ':(glob)**/.gitattributes' && echo lfs || true
"""


def _unknown_ref(path: Path, ref: str, names: list[str]) -> str:
    if not names:
        return f"repository {path} has no commit yet: commit something there first"
    return f"repository {path} has no commit {ref!r}; it has, among others, {', '.join(names)}"


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
    try:
        _folder(staging)
        _take(git_dir / "HEAD", staging / "HEAD")
        if (common / "packed-refs").is_file():
            _take(common / "packed-refs", staging / "packed-refs")
        for name in ("refs", "objects"):
            _take_tree(common / name, staging / name)
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _take_tree(source: Path, target: Path) -> None:
    for folder, _, files in os.walk(source, onerror=_tell, followlinks=False):
        here = target / Path(folder).relative_to(source)
        _folder(here)
        for name in files:
            if not name.startswith(UNFINISHED) and not name.endswith(".lock"):
                _take(Path(folder, name), here / name)


def _folder(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o755)  # whatever the umask


def _tell(error: OSError) -> None:
    raise error


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

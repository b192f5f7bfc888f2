"""The git workspace of a sandbox: a commit goes in, commits come out.

Our git directory is the sandbox's vault, which agents' commands never see; the `.git` in the work tree is the agent's own toy. Every git
command runs in the sandbox, with a configuration that only we wrote. Same tree, parent, message and date give the same commit anywhere.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from .errors import Conflict, Transient
from .ports import Command, CommandResult, Sandbox

TIMEOUT = 300.0
LARGEST_BUNDLE = 512 * 1024 * 1024
LARGEST_PATCH = 32 * 1024 * 1024
PRELUDE = """
set -e
export GIT_AUTHOR_NAME=CompyMac GIT_AUTHOR_EMAIL=compymac@localhost GIT_COMMITTER_NAME=CompyMac GIT_COMMITTER_EMAIL=compymac@localhost
G() { git --git-dir="$VAULT" --work-tree=. "$@"; }
"""
INIT = """
git init -q --bare "$VAULT"
for pair in core.bare=false core.autocrlf=false core.fileMode=true core.hooksPath=/dev/null core.fsmonitor=false gc.auto=0 \
  core.excludesFile=/dev/null core.attributesFile=/dev/null core.logAllRefUpdates=false advice.detachedHead=false \
  core.precomposeUnicode=false core.protectNTFS=true; do
  G config "${pair%%=*}" "${pair#*=}"
done
"""
TOY = """
rm -rf .git && mkdir .git
cp -r "$VAULT/HEAD" "$VAULT/config" "$VAULT/objects" "$VAULT/refs" "$VAULT/index" .git/
[ ! -f "$VAULT/packed-refs" ] || cp "$VAULT/packed-refs" .git/
"""
# a nested repository would be added as a link to a commit that nobody has; unreadable files are the agent's own doing
ADD = """
find . -mindepth 2 -name .git -prune -exec rm -rf {} + 2>/dev/null || true
G add -A 2>/dev/null || { chmod -R u+rwX . 2>/dev/null || true; G add -A; }
"""


class Workspace:
    """Open it once at a commit; then checkpoint, commit, merge, bundle. Commits are named by their sha."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self.opened = ""

    def open(self, base: bytes, bundle: bytes | None, commit: str) -> None:
        """Fill the vault from the base bundle and a cumulative one, and the work tree from `commit`."""
        more = bundle or b""
        fetch_more = "G fetch -q --no-tags \"$VAULT/more.bundle\" '+refs/*:refs/in/*'" if more else ""
        script = f"""{INIT}
head -c {len(base)} > "$VAULT/base.bundle"; cat > "$VAULT/more.bundle"
G fetch -q --no-tags "$VAULT/base.bundle" '+refs/*:refs/base/*'
{fetch_more}
rm -f "$VAULT/base.bundle" "$VAULT/more.bundle"
G update-ref refs/heads/work {_sha(commit)}
G symbolic-ref HEAD refs/heads/work
G read-tree {_sha(commit)}
G checkout-index -q -a -f
G update-index -q --refresh
{TOY}"""
        self._git(script, stdin=base + more)
        self.opened = commit

    def fetch(self, bundle: bytes) -> None:
        """Take another bundle's commits into the vault."""
        script = """cat > "$VAULT/in.bundle"
G fetch -q --no-tags "$VAULT/in.bundle" '+refs/*:refs/in/*'
rm -f "$VAULT/in.bundle\""""
        self._git(script, stdin=bundle)

    def checkpoint(self, when: int) -> str:
        """A commit of the tree as it is now, on top of the opened one; the same tree is the same commit."""
        return self._commit("checkpoint", when)

    def commit(self, message: str, when: int) -> str:
        """One commit of everything that changed since the workspace was opened; the opened commit if nothing did."""
        return self._commit(message, when)

    def merge(self, head: str, commit: str, message: str, when: int) -> str:
        """What `commit` changed, as one commit on top of `head` (which descends from the opened one). Raises Conflict with the files."""
        if commit in (self.opened, head):
            return head
        script = f"""
tree=$(G merge-tree --write-tree --name-only --no-messages {_sha(head)} {_sha(commit)}) || {{ printf '%s\\n' "$tree"; exit 9; }}
if [ "$tree" = "$(G rev-parse {_sha(head)}^{{tree}})" ]; then echo {_sha(head)}; exit 0; fi
printf %s {shlex.quote(message)} | {_dated(when)} G commit-tree "$tree" -p {_sha(head)}"""
        result = self._git(script, allowed=(0, 9))
        if result.exit_code == 9:
            files = tuple(dict.fromkeys(result.stdout.splitlines()[1:]))
            raise Conflict(f"it does not merge onto {head[:10]}: conflicts in {', '.join(files)}", files=files)
        return result.stdout.split()[-1]

    def restore(self, commit: str = "") -> None:
        """The work tree exactly as at `commit` (the opened one if empty): nothing else is left in it."""
        sha = _sha(commit or self.opened)
        self._git(f"""chmod -R u+rwX . 2>/dev/null || true
find . -mindepth 1 -maxdepth 1 ! -name .git -exec rm -rf {{}} +
G read-tree {sha}
G checkout-index -q -a -f
G update-index -q --refresh
[ -d .git ] || {{ {TOY} }}""")

    def restore_checks(self, base: str, globs: Sequence[str], harness: Sequence[str]) -> list[str]:
        """Files that judge, as they were at `base`; new files that would change how the judge works are removed. Which they were."""
        patterns = [f":(glob){glob}" for glob in (*globs, *(f"**/{name}" for name in harness))]
        wanted = " ".join(shlex.quote(pattern) for pattern in patterns)
        self._git(f'G diff --name-status --no-renames -z {_sha(base)} -- {wanted} > "$VAULT/changed"')
        fields = self._sandbox.read("vault:changed", LARGEST_PATCH).split(b"\0")
        changed = [(kind[:1], path) for kind, path in zip(fields[::2], fields[1::2], strict=False)]
        back = [path for kind, path in changed if kind != b"A"]
        gone = [
            path
            for kind, path in changed
            if kind == b"A" and path.rsplit(b"/", 1)[-1].decode("utf-8", "replace") in harness
        ]
        if back or gone:
            script = f"""cat > "$VAULT/paths"
head -c {sum(len(path) + 1 for path in back)} "$VAULT/paths" > "$VAULT/back"
tail -c +{sum(len(path) + 1 for path in back) + 1} "$VAULT/paths" > "$VAULT/gone"
[ ! -s "$VAULT/back" ] || G --literal-pathspecs checkout -q {_sha(base)} --pathspec-from-file="$VAULT/back" --pathspec-file-nul
[ ! -s "$VAULT/gone" ] || xargs -0 rm -rf -- < "$VAULT/gone\""""
            self._git(script, stdin=b"".join(path + b"\0" for path in (*back, *gone)))
        return sorted(path.decode("utf-8", "replace") for path in (*back, *gone))

    # ---- what leaves

    def bundle(self, base: str, commit: str) -> bytes:
        """All commits from `base` (not in it) to `commit`; empty if they are the same."""
        if base == commit:
            return b""
        self._git(f"""G update-ref refs/compymac/result {_sha(commit)}
G bundle create -q "$VAULT/out.bundle" refs/compymac/result ^{_sha(base)}""")
        return self._sandbox.read("vault:out.bundle", LARGEST_BUNDLE)

    def diff(self, old: str, new: str) -> str:
        """A patch that `git apply` takes, binary files included; bytes that are not UTF-8 are kept as surrogates."""
        self._git(
            f"""G diff --no-ext-diff --no-textconv --no-color --binary --full-index {_sha(old)} {_sha(new)} > "$VAULT/out.patch\""""
        )
        return self._sandbox.read("vault:out.patch", LARGEST_PATCH).decode("utf-8", "surrogateescape")

    def changed_lines(self, old: str, new: str) -> int:
        """Added plus deleted lines; a binary file counts as one."""
        counted = self._git(f"G diff --numstat --no-renames {_sha(old)} {_sha(new)} | cut -f1,2 | tail -n 100000")
        numbers = [line.split("\t") for line in counted.stdout.splitlines() if "\t" in line]
        return sum(1 if "-" in pair else int(pair[0]) + int(pair[1]) for pair in numbers)

    # ---- within

    def _commit(self, message: str, when: int) -> str:
        script = f"""{ADD}
tree=$(G write-tree)
if [ "$tree" = "$(G rev-parse {_sha(self.opened)}^{{tree}})" ]; then echo {_sha(self.opened)}; exit 0; fi
printf %s {shlex.quote(message)} | {_dated(when)} G commit-tree "$tree" -p {_sha(self.opened)}"""
        return self._git(script).stdout.split()[-1]

    def _git(self, script: str, stdin: bytes = b"", allowed: Sequence[int] = (0,)) -> CommandResult:
        result = self._sandbox.run(Command(PRELUDE + script, timeout=TIMEOUT, stdin=stdin, vault=True))
        if result.exit_code not in allowed:
            how = "took too long" if result.timed_out else result.limit or f"exit code {result.exit_code}"
            raise Transient(f"git in the workspace failed ({how}): {result.stderr.strip()[-500:]}")
        return result


def _dated(when: int) -> str:
    return f'GIT_AUTHOR_DATE="@{when} +0000" GIT_COMMITTER_DATE="@{when} +0000"'


def _sha(commit: str) -> str:
    """Only a commit's name gets into a script."""
    if not (len(commit) in (40, 64) and all(char in "0123456789abcdef" for char in commit)):
        raise ValueError(f"not a commit's name: {commit[:80]!r}")
    return commit

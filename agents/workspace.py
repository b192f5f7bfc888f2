"""The git workspace of a sandbox: a commit goes in, commits come out.

Our git directory is the sandbox's vault, which agents' commands never see; the `.git` in the work tree is the agent's own toy.
Every git command runs in the sandbox, with a configuration that only we wrote. Same tree, parent, message and date give the
same commit anywhere. Left out of every commit: what .gitignore names, nested repositories' own `.git`, names that git refuses.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from fnmatch import fnmatchcase

from .errors import Conflict, FileProblem, Permanent, Transient
from .ports import Command, CommandResult, Sandbox

TIMEOUT = 300.0
MIB = 1024 * 1024
LARGEST_BUNDLE = 512 * MIB
LARGEST_PATCH = 32 * MIB
# git from the system, never from a repository's own tools
PRELUDE = """
set -eo pipefail
export PATH=/usr/local/bin:/usr/bin:/bin GIT_NO_REPLACE_OBJECTS=1
G() { git --git-dir="$VAULT" --work-tree=. "$@"; }
take() { G bundle unbundle "$1" | while read -r sha _; do G update-ref "refs/kept/$sha" "$sha"; done; rm -f "$1"; }
"""
CONFIG = """[core]
 repositoryFormatVersion = 0
 bare = false
 fileMode = true
 autocrlf = false
 hooksPath = /dev/null
 fsmonitor = false
 excludesFile = /dev/null
 attributesFile = /dev/null
 logAllRefUpdates = false
 precomposeUnicode = false
 protectNTFS = true
 protectHFS = true
 quotePath = false
[user]
 name = CompyMac
 email = compymac@localhost
[gc]
 auto = 0
[maintenance]
 auto = false
[advice]
 detachedHead = false
"""
# stronger than any .gitattributes: the bytes of a file are the bytes of its blob, and nothing hides a file from a diff
ATTRIBUTES = "* -text -ident -filter -working-tree-encoding !diff"
INIT = f"""
git init -q --bare -b work --template= "$VAULT"
mkdir -p "$VAULT/info"
printf %s {shlex.quote(CONFIG)} > "$VAULT/config"
echo {shlex.quote(ATTRIBUTES)} > "$VAULT/info/attributes"
"""
# the agent's own repository: at the opened commit, whatever the work tree holds. Copies, since links would lead into the vault
TOY = """
mkdir .git
cp -r "$VAULT/HEAD" "$VAULT/config" "$VAULT/info" "$VAULT/objects" "$VAULT/refs" .git/
[ ! -f "$VAULT/packed-refs" ] || cp "$VAULT/packed-refs" .git/
"""
EMPTY = """
find . -mindepth 1 -maxdepth 1 -exec rm -rf -- {} + 2>/dev/null || {
  chmod -R u+rwX . && find . -mindepth 1 -maxdepth 1 -exec rm -rf -- {} +
}
rm -f "$VAULT/index"
"""
# The slow way is for trees that git does not add without a word: what cannot be read is the agent's own doing and is opened; a nested
# repository would become a link to a commit that nobody has, so its `.git` goes; names such as .GIT cannot be in a tree at all.
ADD = """
linked() { G diff-index --cached --no-renames "$opened" | grep -q '^:[0-7]* 160000 '; }
if ! G add -A 2>"$VAULT/said" || [ -s "$VAULT/said" ] || linked; then
  rm -f "$VAULT/index"; G read-tree "$opened"
  chmod -R u+rwX . 2>/dev/null || true
  G ls-tree -r -z "$opened" | sed -z '/^160000 /!d; s/^[^\\t]*\\t//; s/$/\\/.git/' | xargs -0 rm -rf --
  while G ls-files -z --others --exclude-standard | sed -z '/\\/$/!d; s/$/.git/' > "$VAULT/nested"; [ -s "$VAULT/nested" ]; do
    xargs -0 rm -rf -- < "$VAULT/nested"
  done
  G add -A --ignore-errors 2>"$VAULT/said" ||
    if grep -v -e '^warning: ' -e '^error: invalid path ' -e '^error: unable to add .* to index$' "$VAULT/said" >&2; then exit 1; fi
fi
"""


class Workspace:
    """Open it once at a commit; then checkpoint, commit, merge, bundle. Commits are named by their sha."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self.opened = ""

    def open(self, base: bytes, bundle: bytes | None, commit: str) -> None:
        """Fill the vault from the base bundle and a cumulative one, and the work tree from `commit`."""
        more = bundle or b""
        self._git(
            f"""{INIT}
head -c {len(base)} > "$VAULT/base.bundle"; cat > "$VAULT/more.bundle"
take "$VAULT/base.bundle"
{'take "$VAULT/more.bundle"' if more else ""}
G update-ref refs/heads/work {_sha(commit)}
{EMPTY}
G read-tree --reset -u {_sha(commit)}
{TOY}
cp "$VAULT/index" .git/""",
            stdin=base + more,
        )
        self.opened = commit

    def fetch(self, bundle: bytes) -> None:
        """Take another bundle's commits into the vault."""
        self._git('cat > "$VAULT/in.bundle"; take "$VAULT/in.bundle"', stdin=bundle)

    def checkpoint(self, when: int) -> str:
        """A commit of the tree as it is now, on top of the opened one; the same tree is the same commit."""
        return self._commit("checkpoint", when)

    def commit(self, message: str, when: int) -> str:
        """One commit of everything that changed since the workspace was opened; the opened commit if nothing did."""
        return self._commit(message, when)

    def merge(self, head: str, commit: str, message: str, when: int) -> str:
        """What `commit` changed, as one commit on top of `head`, a descendant of the opened one. Raises Conflict with the files."""
        if commit in (self.opened, head):
            return head
        script = f"""
tree=$(G merge-tree --write-tree --name-only --no-messages {_sha(head)} {_sha(commit)}) || {{
  [ $? = 1 ] && [ "$tree" ] && printf '%s\\n' "$tree" && exit 9
  exit 1
}}
{_commit_tree(head, message, when)}"""
        result = self._git(script, allowed=(0, 9))
        if result.exit_code == 9:
            files = tuple(dict.fromkeys(name for name in result.stdout.splitlines()[1:] if name))
            raise Conflict(f"it does not merge onto {head[:10]}: conflicts in {', '.join(files)}", files=files)
        return result.stdout.split()[-1]

    def apply(self, patch: bytes, expected: str) -> str:
        """Put a patch on the tree of the opened commit. What is wrong with it, in words; empty: the tree is that of `expected` now."""
        if patch:
            said = self._git(
                'cat > "$VAULT/patch"; G apply --index --whitespace=nowarn "$VAULT/patch"', patch, (0, 1, 128)
            )
            if said.exit_code:
                return f"the patch does not apply to the base: {said.stderr.strip()[-300:]}"
        same = self._git(f'[ "$(G write-tree)" = "$(G rev-parse {_sha(expected)}^{{tree}})" ]', allowed=(0, 1))
        return "" if same.ok else "the patch does not give the files that were reviewed"

    def restore(self, commit: str = "") -> None:
        """The work tree exactly as at `commit` (the opened one if empty), and the agent's `.git` as at first: nothing else is left."""
        self._git(f"""{EMPTY}
G read-tree --reset -u {_sha(commit or self.opened)}
{TOY}
GIT_INDEX_FILE=.git/index G read-tree {_sha(self.opened)}""")

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
            if kind == b"A" and any(fnmatchcase(_name(path), pattern) for pattern in harness)
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
G bundle create -q "$VAULT/out" refs/compymac/result ^{_sha(base)}""")
        return self._taken_out(LARGEST_BUNDLE)

    def diff(self, old: str, new: str) -> str:
        """A patch that `git apply` takes, binary files included; bytes that are not UTF-8 are kept as surrogates."""
        options = "--no-ext-diff --no-textconv --no-color --binary --full-index"
        self._git(f'G diff {options} {_sha(old)} {_sha(new)} > "$VAULT/out"')
        return self._taken_out(LARGEST_PATCH).decode("utf-8", "surrogateescape")

    def changed_lines(self, old: str, new: str) -> int:
        """Added plus deleted lines; a binary file counts as one."""
        count = "awk '{ lines += $1 == \"-\" ? 1 : $1 + $2 } END { print lines + 0 }'"
        return int(self._git(f"G diff --numstat --no-renames {_sha(old)} {_sha(new)} | {count}").stdout)

    # ---- within

    def _commit(self, message: str, when: int) -> str:
        script = f"""opened={_sha(self.opened)}
{ADD}
tree=$(G write-tree)
{_commit_tree(self.opened, message, when)}"""
        return self._git(script).stdout.split()[-1]

    def _taken_out(self, most: int) -> bytes:
        try:
            return self._sandbox.read("vault:out", most)
        except FileProblem as problem:
            raise Permanent(
                f"the change is larger than the {most // MIB} MiB that can be taken over; are build products in it that belong into "
                f".gitignore? ({problem})"
            ) from problem

    def _git(self, script: str, stdin: bytes = b"", allowed: Sequence[int] = (0,)) -> CommandResult:
        result = self._sandbox.run(Command(PRELUDE + script, timeout=TIMEOUT, stdin=stdin, vault=True))
        if result.exit_code not in allowed:
            how = "took too long" if result.timed_out else result.limit or f"exit code {result.exit_code}"
            raise Transient(f"git in the workspace failed ({how}): {result.stderr.strip()[-500:]}")
        return result


def _commit_tree(parent: str, message: str, when: int) -> str:
    """Print the commit of $tree onto `parent`; the parent itself if it has that tree."""
    dates = f'GIT_AUTHOR_DATE="@{when} +0000" GIT_COMMITTER_DATE="@{when} +0000"'
    return f"""if [ "$tree" = "$(G rev-parse {_sha(parent)}^{{tree}})" ]; then echo {_sha(parent)}; exit 0; fi
printf %s {shlex.quote(message)} | {dates} G commit-tree "$tree" -p {_sha(parent)}"""


def _sha(commit: str) -> str:
    """Only a commit's name gets into a script."""
    if not (len(commit) in (40, 64) and all(char in "0123456789abcdef" for char in commit)):
        raise ValueError(f"not a commit's name: {commit[:80]!r}")
    return commit


def _name(path: bytes) -> str:
    return path.rsplit(b"/", 1)[-1].decode("utf-8", "replace")

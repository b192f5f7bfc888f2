"""What a planner sees of a repository before it asks: its files, the head of its README, its AGENTS.md, its test commands."""

from __future__ import annotations

from .checking import discover_checks
from .errors import FileProblem, Transient
from .ports import Command, Sandbox
from .tools import clip

MOST_PATHS = 400
README_SHOWN = 4_000
AGENTS_SHOWN = 8_000
TREE_SHOWN = 20_000
LARGEST = 262_144


def survey(sandbox: Sandbox) -> str:
    """The text for `PlanBrief.survey`."""
    paths = tracked_files(sandbox)
    shown = paths[:MOST_PATHS]
    more = f"\n… and {len(paths) - MOST_PATHS} more files" if len(paths) > MOST_PATHS else ""
    parts = [f"Files ({len(paths)}):\n{clip(chr(10).join(shown), TREE_SHOWN)}{more}"]
    for wanted, longest in (("readme", README_SHOWN), ("agents.md", AGENTS_SHOWN)):
        found = next((path for path in paths if path.lower() == wanted or path.lower().startswith(f"{wanted}.")), "")
        if found:
            parts.append(f"{found}:\n{_head(sandbox, found, longest)}")
    if commands := discover_checks(paths, lambda path: sandbox.read(path, LARGEST)):
        parts.append("Test commands that the repository shows:\n" + "\n".join(commands))
    return "\n\n".join(parts) if paths else "The repository is empty."


def tracked_files(sandbox: Sandbox) -> list[str]:
    """The files of the commit on the bench, in git's order; names that are not UTF-8 are shown escaped."""
    listed = sandbox.run(
        Command('git --git-dir="$VAULT" -c core.quotePath=false ls-files | head -n 20000', timeout=60, vault=True)
    )
    if not listed.ok:
        raise Transient(f"the files of the workspace cannot be listed: {listed.stderr[-300:]}")
    # of a long list `stdout` lacks the middle
    names = listed.whole.decode("utf-8", "replace") if listed.whole else listed.stdout
    return [line for line in names.split("\n") if line]


def _head(sandbox: Sandbox, path: str, longest: int) -> str:
    try:
        return sandbox.read(path, LARGEST).decode("utf-8", "replace")[:longest]
    except FileProblem as problem:
        return f"({problem})"

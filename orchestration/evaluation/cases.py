"""A task bank: a folder with one folder a case.

case.json          goal, checks, hidden_checks, withheld_checks (all but the goal may be left out), setup, allow_check_edits, base
files/             the repository's files; or base.bundle, a git bundle that holds the commit `base`
withheld/          what the withheld checks need: put beside the result when all is over, never seen by the engine or a model
answers/right …    for the scripted model only
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BadInput

DESCRIPTION = "case.json"
LISTS = ("checks", "hidden_checks", "withheld_checks")
TEXTS = ("goal", "setup", "base")
AUTHOR = ("-c", "user.name=Evaluation", "-c", "user.email=evaluation@localhost", "-c", "commit.gpgsign=false")
WHEN = "2026-01-01T00:00:00Z"  # so that the same files are the same commit in each run


@dataclass(frozen=True, slots=True)
class Case:
    """`withheld_checks` give the honest rate: the engine never hears of them."""

    folder: Path
    goal: str
    checks: tuple[str, ...] = ()
    hidden_checks: tuple[str, ...] = ()
    withheld_checks: tuple[str, ...] = ()
    setup: str = ""
    base: str = ""
    allow_check_edits: bool = False

    @property
    def name(self) -> str:
        return self.folder.name

    def withheld_files(self) -> dict[str, bytes]:
        root = self.folder / "withheld"
        found = sorted(path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in found}


def suite_in(folder: Path) -> list[Case]:
    """All cases by name. Raises BadInput."""
    if not folder.is_dir():
        raise BadInput(f"there is no folder {str(folder)!r}; the suite that ships with this is examples/eval")
    found = [case_in(path.parent) for path in sorted(folder.glob(f"*/{DESCRIPTION}"))]
    if not found:
        raise BadInput(f"{folder} has no case: each is a folder with a {DESCRIPTION}")
    texts = [case.goal for case in found]
    if doubled := sorted({case.name for case in found if texts.count(case.goal) > 1}):
        raise BadInput(f"the cases {', '.join(doubled)} have the same goal, so nobody could tell them apart")
    return found


def case_in(folder: Path) -> Case:
    """Raises BadInput with what is wrong."""
    try:
        said = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder / DESCRIPTION} cannot be read: {error}") from error
    if not isinstance(said, dict) or not str(said.get("goal") or "").strip():
        raise BadInput(f"{folder / DESCRIPTION} has no `goal`")
    if unknown := sorted(set(said) - {*LISTS, *TEXTS, "allow_check_edits"}):
        raise BadInput(f"{folder / DESCRIPTION} has the unknown {', '.join(unknown)}")
    for name in LISTS:
        if not isinstance(said.get(name, []), list) or not all(isinstance(check, str) for check in said.get(name, [])):
            raise BadInput(f"`{name}` of {folder / DESCRIPTION} is no list of commands")
    if not (folder / "files").is_dir() and not (folder / "base.bundle").is_file():
        raise BadInput(f"{folder} has neither files/ nor base.bundle to start from")
    texts: dict[str, Any] = {name: str(said.get(name) or "") for name in TEXTS}
    lists: dict[str, Any] = {name: tuple(said.get(name, [])) for name in LISTS}
    return Case(folder, **texts, **lists, allow_check_edits=bool(said.get("allow_check_edits")))


def make_repository(case: Case, place: Path) -> Path:
    """A git repository at the case's base. Raises BadInput."""
    if (case.folder / "files").is_dir():
        shutil.copytree(case.folder / "files", place, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        _git(place, [("init", "-q", "-b", "main"), ("add", "-A", "-f"), (*AUTHOR, "commit", "-q", "-m", case.name)])
        return place
    place.mkdir(parents=True)
    bundle = str(case.folder / "base.bundle")
    taken = [("init", "-q", "-b", "main"), ("bundle", "unbundle", bundle), ("update-ref", "refs/heads/main", case.base)]
    _git(place, [*taken, ("checkout", "-q", "-f", "main")])
    return place


def _git(place: Path, lines: Sequence[Sequence[str]]) -> None:
    env = {**os.environ, "GIT_AUTHOR_DATE": WHEN, "GIT_COMMITTER_DATE": WHEN}
    for words in lines:
        done = subprocess.run(
            ["git", *words], cwd=place, env=env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            raise BadInput(f"the repository {place.name} could not be made: {done.stderr.strip()[-300:]}")


def write_case(folder: Path, said: dict[str, Any], files: dict[str, bytes]) -> None:
    """A new case; `files` by their place below its folder. Raises BadInput if it is there already."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise BadInput(f"{folder} is there already: give the case another name with --name") from None
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    shown = {name: value for name, value in said.items() if value not in ("", [], False)}
    (folder / DESCRIPTION).write_text(json.dumps(shown, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

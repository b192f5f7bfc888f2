"""Repositories: named by somebody who may read them, on a command line of this machine; then their team may start goals from them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from ..errors import BadInput, NotFound
from ..models import Goal, RecurringGoal, Repository, Team
from ..transitions import repeatable
from .cleaning import printable, shown
from .teams import team_of_machine

Named = Repository | UUID | str | os.PathLike[str]
LONGEST_PATH = 1000
REGISTER = "manage.py repository add"


@repeatable
def register_repository(
    path: str | os.PathLike[str],
    *,
    setup: str | None = None,
    toolchain: Sequence[str] | None = None,
    team: str = "",
) -> Repository:
    """Offer a folder of this machine to a team (default: the only one). None leaves what was said about its tools; empty forgets it.

    Only for command lines: `setup` runs outside of the agents' control. Raises BadInput.
    """
    said: dict[str, Any] = {"removed_at": None}
    if setup is not None:
        said |= {"setup": clean_script(setup), "setup_allowed": bool(setup.strip())}
    if toolchain is not None:
        said["toolchain"] = list(clean_toolchain(toolchain))
    place = clean_repository(path, allow=True)
    return Repository.objects.update_or_create(team=team_of_machine(team), path=place, defaults=said)[0]


@repeatable
def remove_repository(path: str | os.PathLike[str], *, team: str = "") -> bool:
    """Offer it no more. False: its row stays, since goals or schedules were made of it. Raises NotFound."""
    with transaction.atomic():
        places = {str(path), str(_followed(path))}
        offered = Repository.objects.filter(team=team_of_machine(team), path__in=places, removed_at=None)
        row = offered.select_for_update(no_key=True).first()
        if row is None:
            raise NotFound(f"{shown(path)} is not registered; see `manage.py repository list`")
        if Goal.objects.filter(repository=row).exists() or RecurringGoal.objects.filter(repository=row).exists():
            Repository.objects.filter(pk=row.pk).update(removed_at=timezone.now())
            return False
        row.delete()
        return True


def name_repository(team: Team, place: str, setup: str, toolchain: Sequence[str]) -> Repository:
    """The team's row for a checked folder; what the submitter says about its tools now replaces what was said before."""
    said: dict[str, Any] = {}
    if setup:
        said |= {"setup": setup, "setup_allowed": True}
    if toolchain:
        said["toolchain"] = list(toolchain)
    return Repository.objects.update_or_create(team=team, path=place, defaults=said)[0]


# ---- what people type


def find_place(repo: Named, team: Team, *, allow: bool) -> str:
    """The path of one of the team's repositories (given as its row, id or path), or `clean_repository`'s. Raises BadInput.

    A registered one is not looked for on this machine's disk: the panel may run on another machine than the workers.
    """
    offered = Repository.objects.filter(team=team, removed_at=None)
    if isinstance(repo, Repository | UUID):
        row = offered.filter(pk=repo.pk if isinstance(repo, Repository) else repo).first()
        if row is None:
            raise BadInput(
                f"there is no repository {shown(repo)} in the team {team} (any more); register it: {REGISTER} PATH"
            )
        return row.path
    if not allow and (row := offered.filter(path__in={_typed(repo), str(_followed(repo))}).first()):
        return row.path
    return clean_repository(repo, allow=allow)


def clean_repository(repo: str | os.PathLike[str], *, allow: bool) -> str:
    """The real path of a git repository that may be read: named by its owner, or below REPO_ROOTS."""
    if not str(repo).strip():
        raise BadInput("the repository's path is empty: name a folder, or leave it out to start from nothing")
    path = _followed(repo)
    if not allow and not any(path.is_relative_to(root) for root in settings.REPO_ROOTS):
        # what was typed is repeated, never where it leads: that is nobody's business who may not read it
        raise BadInput(
            f"{shown(repo)} is not registered and not below REPO_ROOTS "
            f"({', '.join(map(str, settings.REPO_ROOTS)) or 'empty'}): on its machine, {REGISTER} PATH"
        )
    try:
        is_folder, is_repository = path.is_dir(), (path / ".git").exists()
    except OSError as error:
        raise BadInput(f"{shown(path)} cannot be looked into: {error.strerror}") from error
    if not is_folder:
        raise BadInput(f"there is no folder {shown(path)}")
    if not is_repository:
        raise BadInput(
            f"{shown(path)} is not a git repository's top folder (it has no .git): run `git init` there, or name another"
        )
    if len(str(path)) > LONGEST_PATH:
        raise BadInput(f"the repository's path is longer than {LONGEST_PATH} characters")
    return str(path)


def clean_script(text: str) -> str:
    if len(text) > 10_000:
        raise BadInput("the setup commands are longer than 10000 characters: put them into a script of the repository")
    return printable(text.strip(), "the setup")


def clean_toolchain(folders: Sequence[str]) -> tuple[str, ...]:
    for folder in folders:
        if not Path(folder).is_absolute() or not Path(folder).is_dir():
            raise BadInput(f"toolchain folder {shown(folder)} is not an absolute path of an existing folder")
    return tuple(str(Path(folder).resolve()) for folder in folders)


def _typed(repo: str | os.PathLike[str]) -> str:
    return printable(str(repo), "the repository's path")


def _followed(repo: str | os.PathLike[str]) -> Path:
    try:
        return Path(_typed(repo)).expanduser().resolve()
    except (OSError, RuntimeError) as error:
        raise BadInput(f"the repository's path {shown(repo)} cannot be followed: {error}") from error

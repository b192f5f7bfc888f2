"""Do the code and the database belong together? A worker of other code would write rows that the rest does not expect."""

from __future__ import annotations

from collections.abc import Set
from functools import cache
from pathlib import Path

from django.db import DatabaseError, connection
from django.db.migrations.recorder import MigrationRecorder

MIGRATIONS = Path(__file__).parent / "migrations"


@cache
def of_this_code() -> frozenset[str]:
    """The names of the migrations that were there when this process began; an update of the folder changes no running code."""
    return frozenset(path.stem for path in MIGRATIONS.glob("[0-9]*.py"))


def difference(code: Set[str], database: Set[str]) -> str:
    """PURE: what is wrong between the migrations that the code has and those that were applied, and what to do; empty: nothing."""
    if missing := sorted(code - database):
        return (
            f"the database lacks {len(missing)} migration(s) of this code, the first is {missing[0]}: "
            "drain the other workers (SIGTERM), then run manage.py migrate"
        )
    if newer := sorted(database - code):
        return f"the database was migrated by newer code (to {newer[-1]}): update this machine's code before its worker is started"
    return ""


def schema_problem() -> str:
    """The same for this code and its database. A database that does not answer is no problem of this kind: others tell of it."""
    try:
        rows = MigrationRecorder(connection).migration_qs.filter(app="orchestration")
        return difference(of_this_code(), set(rows.values_list("name", flat=True)))
    except DatabaseError:
        return ""

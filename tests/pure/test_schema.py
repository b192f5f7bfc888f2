"""Code and database: which of them is behind, and what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from orchestration.schema import difference, schema_problem
from tests.support.installation import BASE


@pytest.mark.parametrize(
    ("code", "database", "said"),
    [
        ({"0001_a"}, {"0001_a"}, ""),
        ({"0001_a", "0002_b", "0003_c"}, {"0001_a"}, "lacks 2 migration(s) of this code, the first is 0002_b"),
        ({"0001_a"}, {"0001_a", "0002_b"}, "by newer code (to 0002_b)"),
        ({"0001_a", "0002_b"}, {"0001_a", "0002_c"}, "lacks 1 migration(s)"),
    ],
)
def test_which_is_behind(code: set[str], database: set[str], said: str) -> None:
    assert said in difference(code, database)
    assert bool(said) == bool(difference(code, database))


@pytest.mark.django_db
def test_this_database_is_this_code_s_until_it_was_migrated_by_a_newer_one() -> None:
    assert schema_problem() == ""
    MigrationRecorder(connection).record_applied("orchestration", "9999_of_the_future")
    assert "9999_of_the_future" in schema_problem()


@pytest.mark.services
def test_a_worker_of_other_code_than_its_database_s_is_refused_in_a_sentence(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("COMPYMAC", "DJANGO", "DATA"))}
    env |= {"DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}", "DATA_DIR": str(tmp_path), "SECRET_KEY": "test"}
    env |= {"REDIS_URL": "redis://127.0.0.1:1/0", "CELERY_BROKER_URL": "redis://127.0.0.1:1/0"}
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "orchestration", "0009", "-v0"], cwd=BASE, env=env, check=True
    )
    argv = [sys.executable, "-m", "compymac_site", "worker"]
    done = subprocess.run(argv, cwd=BASE, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    assert "of this code, the first is 0010_" in done.stderr
    assert "manage.py migrate" in done.stderr

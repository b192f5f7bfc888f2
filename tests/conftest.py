"""What all tests share. Servers are real; whoever needs one starts it (tests/support) and stops it by its pid."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from orchestration import broker, dispatch
from orchestration.selectors import prices
from tests.support.audit import all_holds
from tests.support.installation import Installation

DATABASE_FIXTURES = {"db", "transactional_db", "installation"}


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """PostgreSQL drops no database that a thread of the last test is still leaving."""
    yield
    with django_db_blocker.unblock():
        if connection.vendor == "postgresql":
            _be_alone()


def _be_alone(seconds: float = 15) -> None:
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    ends = time.monotonic() + seconds
    with connection.cursor() as cursor:
        while time.monotonic() < ends:
            cursor.execute(f"SELECT count(*) {others} AND state <> 'idle'")
            if not cursor.fetchone()[0]:
                break
            time.sleep(0.2)
        cursor.execute(f"SELECT pg_terminate_backend(pid) {others}")


@pytest.fixture(autouse=True)
def no_price_of_another_test() -> None:
    """A process believes for a while what it read of the prices."""
    prices.table.forget()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that a sandbox's own user may pass through (pytest's tmp_path is closed to others)."""
    folder = Path(tempfile.mkdtemp(prefix="compymac-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def installation(transactional_db: None, open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """A new installation with its Redis; a worker comes when the test starts one."""
    monkeypatch.setattr(broker, "_known", None)  # the last test's database row is gone
    # the workers' housekeepers find what is queued
    monkeypatch.setattr(dispatch, "_publisher", dispatch.publish_nothing)
    with ExitStack() as stack:
        made = Installation(open_folder, stack)
        made.start_redis()
        yield made
        all_holds()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--database-only", action="store_true", help="only the tests that use a database")


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests with an installation need real servers; on the second database, what needs none has nothing new to say."""
    for item in items:
        if "installation" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.services)
    if not config.getoption("--database-only"):
        return
    mine = {True: [], False: []}  # type: dict[bool, list[pytest.Item]]
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        mine[item.get_closest_marker("django_db") is not None or bool(fixtures & DATABASE_FIXTURES)].append(item)
    items[:] = mine[True]
    config.hook.pytest_deselected(items=mine[False])


def pytest_unconfigure(config: pytest.Config) -> None:
    """The folder of tests.settings goes with the process that made it."""
    if "PYTEST_XDIST_WORKER" not in os.environ and (folder := os.environ.pop("COMPYMAC_TEST_DIR", "")):
        shutil.rmtree(folder, ignore_errors=True)

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from orchestration import broker, dispatch
from tests.support.installation import Installation


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "installation" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.services)


@pytest.fixture
def installation(transactional_db: None, open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """A new installation with its Redis; a worker comes when the test starts one."""
    monkeypatch.setattr(broker, "_known", None)  # the last test's database row is gone
    monkeypatch.setattr(
        dispatch, "_publisher", dispatch.publish_nothing
    )  # the workers' housekeepers find what is queued
    with ExitStack() as stack:
        made = Installation(open_folder, stack)
        made.start_redis()
        yield made

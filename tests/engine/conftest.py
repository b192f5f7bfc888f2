from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from orchestration import dispatch
from tests.support.audit import all_holds
from tests.support.engine import Engine


@pytest.fixture(autouse=True)
def nobody_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no Redis here; what is queued is claimed from the database."""
    monkeypatch.setattr(dispatch, "_publisher", dispatch.publish_nothing)


@pytest.fixture
def engine(transactional_db: None, open_folder: Path) -> Iterator[Engine]:
    """An engine of one worker in this process."""
    with ExitStack() as stack:
        made = Engine(open_folder, stack)
        yield made
        made.close()
        all_holds()

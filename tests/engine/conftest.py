from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from orchestration import dispatch
from tests.support.engine import Engine


@pytest.fixture
def engine(transactional_db: None, open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An engine of one worker in this process."""
    monkeypatch.setattr(dispatch, "_publisher", dispatch.publish_nothing)
    with ExitStack() as stack:
        made = Engine(open_folder, stack)
        yield made
        made.close()

"""A model server on loopback, as in the tests of the client, and no memory of other tests' servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agents.llm import openai_compatible
from orchestration import dispatch
from tests.llm.model_server import ModelServer


@pytest.fixture(autouse=True)
def nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    openai_compatible._habits.clear()
    monkeypatch.setattr(dispatch, "_publisher", dispatch.publish_nothing)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    mine = ModelServer()
    yield mine
    mine.stop()

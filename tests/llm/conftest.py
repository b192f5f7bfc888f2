"""What the tests of the model client share: a server that answers as told, and no memory of other tests' servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from model_server import ModelServer

from agents.llm import http, openai_compatible


@pytest.fixture(autouse=True)
def _no_habits() -> None:
    """A port may come back in a later test as another server."""
    openai_compatible._habits.clear()


@pytest.fixture
def server() -> Iterator[ModelServer]:
    mine = ModelServer()
    yield mine
    mine.stop()


@pytest.fixture(scope="session", autouse=True)
def _hang_up() -> Iterator[None]:
    """The main thread outlives the tests; its connection need not."""
    yield
    http._mine().client.close()

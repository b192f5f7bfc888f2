"""The panel's world: an owner, another user, a superuser, a stranger, and pages whose every query is counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from orchestration import dispatch, services
from orchestration.models import Goal, Repository
from orchestration.services.repositories import register_repository
from tests.support.people import join, member, outsider


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is woken: no Redis is there to be asked."""
    monkeypatch.setattr(dispatch, "_publisher", dispatch.publish_nothing)


@pytest.fixture
def ada(db: None) -> User:
    return member("ada", password="a long password")


@pytest.fixture
def mallory(db: None) -> User:
    return outsider("mallory")


def logged_in(user: User, **more: Any) -> Client:
    client = Client(**more)
    client.force_login(user)
    return client


@pytest.fixture
def owner(ada: User) -> Client:
    return logged_in(ada)


@pytest.fixture
def other(mallory: User) -> Client:
    return logged_in(mallory)


@pytest.fixture
def boss(db: None) -> Client:
    return logged_in(join(User.objects.create_superuser("boss"), "admin"))


@pytest.fixture
def submit(ada: User) -> Callable[..., Goal]:
    def submit(text: str = "Sell more", **more: Any) -> Goal:
        return services.submit_goal(text, **{"by": ada, "origin": "panel", **more})

    return submit


@pytest.fixture
def shop(tmp_path: Path) -> Repository:
    (tmp_path / "shop" / ".git").mkdir(parents=True)
    return register_repository(tmp_path / "shop")


@pytest.fixture
def queries() -> Callable[[Client, str], int]:
    def count(client: Client, address: str) -> int:
        with CaptureQueriesContext(connection) as asked:
            assert client.get(address).status_code == 200
        return len(asked)

    return count

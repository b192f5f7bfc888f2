from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from orchestration import dispatch
from tests.support.people import member


@pytest.fixture(autouse=True)
def nobody_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_publisher", dispatch.publish_nothing)


@pytest.fixture
def ana(db: None) -> User:
    return member("ana")


@pytest.fixture
def page(ana: User) -> Client:
    """Ana's browser."""
    client = Client()
    client.force_login(ana)
    return client

"""Whoever looks at the money: nobody is woken, no Redis is there to be asked."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from orchestration import dispatch
from tests.support.people import member


@pytest.fixture(autouse=True)
def nobody_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_publisher", dispatch.publish_nothing)


@pytest.fixture
def ada(db: None) -> User:
    return member("ada")

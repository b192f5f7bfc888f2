"""Two people with a token each, and a client that speaks the API."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client

from orchestration import dispatch
from orchestration.services.access import create_token
from tests.support.people import member, outsider

V1 = "/api/v1"


class Api:
    """`api.get("/goals")`; answers have `.json()`. `token` empty: a stranger."""

    def __init__(self, token: str = "", **headers: str) -> None:
        self.client = Client(raise_request_exception=True)
        self.headers = ({"Authorization": f"Bearer {token}"} if token else {}) | headers

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        data = body if isinstance(body, bytes | str) else json.dumps(body)
        more = {} if body is None else {"data": data, "content_type": headers.pop("content_type", "application/json")}
        address = path if path.startswith("/api/") else V1 + path
        answer: HttpResponse = self.client.generic(method, address, headers=self.headers | headers, **more)
        return answer

    def get(self, path: str, **headers: str) -> Any:
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.ask("POST", path, body, **headers)


def expect_problem(answer: Any, status: int, kind: str = "") -> dict[str, Any]:
    """The problem in an answer that has to be one."""
    assert answer.status_code == status, answer.content[:500]
    assert answer.headers["Content-Type"] == "application/problem+json"
    found: dict[str, Any] = json.loads(answer.content)
    assert found["status"] == status
    assert found["detail"]
    assert found["request_id"] == answer.headers["X-Request-ID"]
    assert not kind or found["type"] == f"urn:compymac:problem:{kind}", found
    return found


@pytest.fixture(autouse=True)
def nobody_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_publisher", dispatch.publish_nothing)


@pytest.fixture
def ada(db: None) -> User:
    return member("ada", password="x")


@pytest.fixture
def bob(db: None) -> User:
    return outsider("bob", password="x")


@pytest.fixture
def api(ada: User) -> Api:
    return Api(create_token(user=ada, name="tests")[1])


@pytest.fixture
def bobs(bob: User) -> Api:
    return Api(create_token(user=bob, name="tests")[1])


@pytest.fixture
def stranger(db: None) -> Api:
    return Api()

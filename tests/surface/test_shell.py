"""The shell around every page: behind a login, under a strict policy, with static files of our own only."""

from __future__ import annotations

import threading

import pytest
from django.contrib.auth.models import User
from django.test import Client

from orchestration import dispatch, services
from orchestration.dispatch import Later
from tests.support.installation import until

pytestmark = pytest.mark.django_db


def test_a_stranger_is_sent_to_the_login_and_comes_back(client: Client) -> None:
    User.objects.create_user("ada", password="a long password")
    answer = client.get("/")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/login/?next=/")
    answer = client.post("/login/?next=/", {"username": "ada", "password": "a long password"})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/")
    assert b"Overview" in client.get("/").content


def test_a_fragment_whose_login_ran_out_sends_its_page_to_the_login(client: Client) -> None:
    answer = client.get("/", headers={"HX-Request": "true", "HX-Current-URL": "http://testserver/goals/?status=failed"})
    assert answer.headers["HX-Redirect"] == "/login/?next=%2Fgoals%2F%3Fstatus%3Dfailed"


def test_a_stream_without_a_login_is_401(client: Client) -> None:
    assert client.get("/", headers={"Accept": "text/event-stream"}).status_code == 401


def test_the_policy_allows_nothing_inline_and_nobody_else(client: Client) -> None:
    policy = client.get("/login/").headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


def test_what_does_not_fit_is_dropped_and_the_caller_never_waits() -> None:
    gate, handled = threading.Event(), []

    def handle(item: str) -> None:
        gate.wait(5)
        handled.append(item)

    later = Later(handle, "test", room=2)
    for item in "abcdefgh":
        later(item)
    gate.set()
    assert until(lambda: len(handled) >= 2)
    assert handled[0] == "a"
    assert len(handled) <= 3, "one in the hand and two in the queue"


def test_a_commit_with_events_rings_once(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: object
) -> None:
    rung: list[str] = []
    monkeypatch.setattr(dispatch, "_publisher", dispatch.publish_nothing)
    monkeypatch.setattr(dispatch, "_ringer", rung.append)
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
        goal = services.submit_goal("say hello")
    assert rung == [str(goal.pk)]

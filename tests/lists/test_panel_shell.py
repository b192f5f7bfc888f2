"""The frame of every page: colours without a flash, error pages that say what to do, tokens that are shown once."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection
from django.test import Client
from django.utils import timezone

from orchestration.models import ApiToken
from orchestration.services.access import create_token, find_token
from orchestration.views import goal_list

pytestmark = pytest.mark.django_db


def html_tag(client: Client, address: str = "/") -> str:
    found = re.search(r"<html[^>]*>", client.get(address).content.decode())
    assert found
    return found.group()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_chosen_theme_is_drawn_by_the_server(owner: Client, theme: str) -> None:
    assert "data-theme" not in html_tag(owner)
    answer = owner.post("/theme/", {"theme": theme, "next": "/goals/?q=x"})
    assert answer.headers["Location"] == "/goals/?q=x"
    assert f'data-theme="{theme}"' in html_tag(owner)
    assert 'aria-pressed="true" aria-describedby="theme-name">' + theme.capitalize() in owner.get("/").content.decode()
    owner.post("/theme/", {"theme": "system"})
    assert "data-theme" not in html_tag(owner)


def test_a_theme_stays_when_its_user_logs_out(owner: Client) -> None:
    owner.post("/theme/", {"theme": "dark"})
    owner.post("/logout/")
    assert 'data-theme="dark"' in html_tag(owner, "/login/")


@pytest.mark.parametrize("cookie", ["<script>", '"><script>alert(1)</script>', "purple", ""])
def test_an_odd_theme_is_none(owner: Client, cookie: str) -> None:
    owner.cookies["theme"] = cookie
    assert "data-theme" not in html_tag(owner)
    owner.post("/theme/", {"theme": cookie})
    assert "data-theme" not in html_tag(owner)


@pytest.mark.parametrize("away", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "", "\\\\evil"])
def test_the_theme_form_sends_nobody_away(owner: Client, away: str) -> None:
    assert owner.post("/theme/", {"theme": "dark", "next": away}).headers["Location"] == "/"


def test_the_navigation_has_the_pages_and_the_admin_only_for_staff(owner: Client, boss: Client) -> None:
    text = owner.get("/goals/").content.decode()
    for href in ("/", "/goals/", "/goals/new/", "/workers/", "/repositories/", "/tokens/"):
        assert f'href="{href}"' in text
    assert 'href="/goals/" aria-current="page"' in text
    assert "/admin/" not in text
    assert "/admin/" in boss.get("/").content.decode()


def test_the_alarms_cost_a_fragment_and_the_login_nothing(owner: Client, client: Client, queries: Any) -> None:
    assert queries(client, "/login/") == 0


@pytest.mark.parametrize("address", ["/nothing/", "/goals/00000000/", "/goals/new/nothing", "/tokens/x/revoke/"])
def test_a_wrong_address_says_so_and_leads_back(owner: Client, address: str) -> None:
    answer = owner.get(address)
    assert answer.status_code == 404
    assert "There is nothing here" in answer.content.decode()
    assert 'href="/"' in answer.content.decode()


def test_a_wrong_address_is_repeated_as_text(owner: Client) -> None:
    text = owner.get("/<script>alert(1)</script>").content.decode()
    assert "<script>alert" not in text
    assert "&lt;script&gt;" in text


def test_a_broken_page_is_explained_without_a_database(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(ada)
    client.cookies["theme"] = "dark"

    def broken(*_: Any, **__: Any) -> None:
        raise DatabaseError("the disk is on fire: secret")

    monkeypatch.setattr(goal_list, "goals_for", broken)
    with connection.execute_wrapper(lambda run, sql, *rest: run(sql, *rest)):
        answer = client.get("/goals/")
    text = answer.content.decode()
    assert answer.status_code == 500
    assert "Something broke here" in text
    assert "secret" not in text
    assert 'data-theme="dark"' in text


def test_when_the_database_is_away_altogether_the_page_still_says_so(ada: User) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(ada)

    def away(*_: Any) -> None:
        raise DatabaseError("no connection")

    with connection.execute_wrapper(away):
        answer = client.get("/")
    assert answer.status_code == 500
    assert b"Something broke here" in answer.content


def test_a_token_is_shown_once_and_works(owner: Client, ada: User) -> None:
    page = owner.get("/tokens/").content.decode()
    key = re.search(r'name="key" value="(\w+)"', page).group(1)  # type: ignore[union-attr]
    answer = owner.post("/tokens/", {"key": key, "name": "nightly <b>", "days": "7"})
    secret = re.search(r"cmk_[\w-]{43}", answer.content.decode()).group()  # type: ignore[union-attr]
    assert "no-store" in answer.headers["Cache-Control"]
    address = re.search(r"http://testserver(/api/\S+)</code>", answer.content.decode()).group(1)  # type: ignore[union-attr]
    assert Client().get(address, headers={"Authorization": f"Bearer {secret}"}).status_code == 200
    found = find_token(secret)
    assert found is not None
    assert found.user == ada
    assert found.expires_at is not None
    assert timedelta(days=6) < found.expires_at - timezone.now() < timedelta(days=8)
    assert secret not in owner.get("/tokens/").content.decode()
    again = owner.post("/tokens/", {"key": key, "name": "nightly <b>", "days": "7"})
    assert "used already" in again.content.decode()
    assert ApiToken.objects.count() == 1


@pytest.mark.parametrize(
    "sent", [{"name": ""}, {"name": "x" * 81}, {"name": "\x1b[31m"}, {"days": "8"}, {"days": "9" * 99}, {"key": ""}]
)
def test_a_token_that_cannot_be_made_is_refused(owner: Client, sent: dict[str, str]) -> None:
    answer = owner.post("/tokens/", {"key": "k", "name": "nightly", "days": "7", **sent})
    assert answer.status_code == 422
    assert not ApiToken.objects.exists()


def test_a_revoked_token_opens_nothing_and_says_so(owner: Client, ada: User) -> None:
    token, secret = create_token(ada, "nightly")
    answer = owner.post(f"/tokens/{token.pk}/revoke/", follow=True)
    assert "opens nothing any more" in answer.content.decode()
    assert find_token(secret) is None
    assert owner.post(f"/tokens/{token.pk}/revoke/").status_code == 302
    assert owner.get(f"/tokens/{token.pk}/revoke/").status_code == 405


def test_repositories_are_listed_with_how_to_register_one(owner: Client, submit: Any, shop: Any) -> None:
    submit(repo=shop)
    text = owner.get("/repositories/").content.decode()
    assert shop.path in text
    assert f'href="/goals/?repository={shop.pk}">1<' in text
    assert "manage.py repository add" in text


def test_no_repository_says_how_to_register_one(owner: Client) -> None:
    assert "No repository is registered" in owner.get("/repositories/").content.decode()

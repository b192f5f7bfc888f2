"""A one-time link lets its user in once, in time, and only by its button; then a password is set."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from compymac_site.logs import Scrubbed
from orchestration import services

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada(db: None) -> User:
    return User.objects.create_user("ada", password="an old password")


def link_for(user: User) -> str:
    return services.login_link(user, base="")


def path(link: str) -> str:
    return link.removeprefix("http://127.0.0.1:8000")


def run(*words: str) -> str:
    out = StringIO()
    call_command(*words, stdout=out, stderr=StringIO())
    return path(out.getvalue().strip())


def who(client: Client) -> str | None:
    return client.session.get("_auth_user_id")


class TestLink:
    def test_the_button_logs_in_once(self, client: Client, ada: User) -> None:
        link = path(link_for(ada))
        page = client.get(link)
        assert b"Log in as ada" in page.content
        assert who(client) is None
        answer = client.post(link)
        assert (answer.status_code, answer["Location"]) == (302, "/login/password/")
        assert who(client) == str(ada.pk)
        assert Client().post(link).status_code == 410

    def test_looking_at_it_uses_nothing_up(self, client: Client, ada: User) -> None:
        link = path(link_for(ada))
        for _ in range(3):
            assert client.get(link).status_code == 200
            assert client.head(link).status_code == 200
        assert client.post(link).status_code == 302

    def test_used_twice_it_is_gone_and_says_what_to_do(self, client: Client, ada: User) -> None:
        link = path(link_for(ada))
        client.post(link)
        for answer in (Client().get(link), Client().post(link)):
            assert answer.status_code == 410
            assert b"used already" in answer.content
            assert b"manage.py login_link" in answer.content

    def test_late_it_is_gone_and_says_what_to_do(self, client: Client, ada: User) -> None:
        link = path(link_for(ada))
        with time_machine.travel(timezone.now() + timedelta(minutes=14), tick=False):
            assert client.get(link).status_code == 200
        with time_machine.travel(timezone.now() + timedelta(minutes=16), tick=False):
            for answer in (client.get(link), client.post(link)):
                assert answer.status_code == 410
                assert b"too old" in answer.content
        assert who(client) is None

    def test_a_login_between_making_and_using_ends_it(self, client: Client, ada: User) -> None:
        first, second = path(link_for(ada)), path(link_for(ada))
        assert client.post(second).status_code == 302
        assert Client().post(first).status_code == 410

    def test_two_logins_within_the_same_second_are_told_apart(self, ada: User) -> None:
        with time_machine.travel(timezone.now(), tick=False) as clock:
            User.objects.filter(pk=ada.pk).update(last_login=timezone.now())
            link = path(link_for(User.objects.get(pk=ada.pk)))
            clock.shift(timedelta(milliseconds=1))
            assert Client().post(link).status_code == 302
            assert Client().post(link).status_code == 410

    @pytest.mark.parametrize("change", [{"is_active": False}, {"password": "another"}])
    def test_a_user_who_changed_meanwhile_is_not_let_in(self, ada: User, change: dict[str, Any]) -> None:
        link = path(link_for(ada))
        User.objects.filter(pk=ada.pk).update(**change)
        assert Client().post(link).status_code == 410

    @pytest.mark.parametrize("uid", ["MQ", "OTk5", "!!!", "x" * 300, "LTE", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5"])
    @pytest.mark.parametrize("token", ["a-b", "x", "-", "0-0", "zzzzzzzzzzzzzzzzzzzz-a", "☃", "x" * 3000])
    def test_garbage_is_gone_too(self, client: Client, ada: User, uid: str, token: str) -> None:
        assert client.get(f"/login/link/{uid}/{token}/").status_code == 410

    def test_a_link_with_a_nul_is_none(self, client: Client, ada: User) -> None:
        assert client.get("/login/link/%00/a-b/").status_code == 404

    def test_another_users_token_opens_nothing(self, client: Client, ada: User) -> None:
        eve = User.objects.create_user("eve")
        _, _, _, uid, _, _ = path(link_for(eve)).split("/")
        token = path(link_for(ada)).split("/")[-2]
        assert client.post(f"/login/link/{uid}/{token}/").status_code == 410

    def test_without_its_form_the_button_does_nothing(self, ada: User) -> None:
        strict = Client(enforce_csrf_checks=True)
        link = path(link_for(ada))
        assert strict.post(link).status_code == 403
        assert strict.get(link).status_code == 200, "the refused request has not used it up"

    def test_the_session_of_whoever_was_there_is_replaced(self, client: Client, ada: User) -> None:
        eve = User.objects.create_user("eve")
        client.force_login(eve)
        before = client.session.session_key
        client.post(path(link_for(ada)))
        assert who(client) == str(ada.pk)
        assert client.session.session_key != before

    def test_the_address_goes_nowhere(self, client: Client, ada: User) -> None:
        answer = client.get(path(link_for(ada)))
        assert answer["Referrer-Policy"] == "strict-origin"
        assert "no-store" in answer["Cache-Control"]

    def test_no_log_holds_a_token(self) -> None:
        record = logging.makeLogRecord({"msg": "Gone: %s", "args": ("/login/link/MQ/abc-secret/",), "levelname": "W"})
        said = Scrubbed("%(message)s").format(record)
        assert said == "Gone: /login/link/***"


@pytest.mark.django_db(transaction=True)
def test_pressed_by_two_at_once_it_lets_one_in() -> None:
    link = path(link_for(User.objects.create_user("ada")))
    answers: list[int] = []
    start = threading.Barrier(4)

    def press() -> None:
        try:
            start.wait(20)
            answers.append(Client().post(link).status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=press) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(answers) == [302, 410, 410, 410]


class TestPassword:
    def test_it_is_set_after_a_link_without_the_old_one(self, client: Client, ada: User) -> None:
        client.post(path(link_for(ada)))
        page = client.get("/login/password/")
        assert b"Keep the one you have" in page.content
        new = {"new_password1": "correct horse staple", "new_password2": "correct horse staple"}
        answer = client.post("/login/password/", new)
        assert (answer.status_code, answer["Location"]) == (302, "/")
        assert who(client) == str(ada.pk), "and the session goes on"
        assert Client().post("/login/", {"username": "ada", "password": "correct horse staple"}).status_code == 302
        assert client.post("/login/password/", new).status_code == 302
        assert client.get("/login/password/")["Location"] == "/", "it is for once"

    def test_who_has_none_is_not_offered_to_skip(self, client: Client) -> None:
        client.post(run("invite", "grace"))
        page = client.get("/login/password/")
        assert b"Set a password" in page.content
        assert b"Keep the one" not in page.content

    @pytest.mark.parametrize(
        ("one", "two", "said"),
        [
            ("short", "short", "too short"),
            ("12345678901", "12345678901", "numeric"),
            ("a good one", "another", "match"),
        ],
    )
    def test_a_bad_one_is_refused_with_the_reason(
        self, client: Client, ada: User, one: str, two: str, said: str
    ) -> None:
        client.post(path(link_for(ada)))
        answer = client.post("/login/password/", {"new_password1": one, "new_password2": two})
        assert answer.status_code == 422
        assert said in answer.content.decode()

    def test_a_session_that_came_by_password_cannot(self, client: Client, ada: User) -> None:
        client.force_login(ada)
        answer = client.post("/login/password/", {"new_password1": "stolen session", "new_password2": "stolen session"})
        assert answer.status_code == 302
        ada.refresh_from_db()
        assert ada.check_password("an old password")


class TestCommands:
    def test_the_first_link_makes_the_first_superuser(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DJANGO_SUPERUSER_USERNAME", "boss")
        link = run("login_link")
        boss = User.objects.get()
        assert (boss.username, boss.is_superuser, boss.is_staff, boss.has_usable_password()) == (
            "boss",
            True,
            True,
            False,
        )
        assert client.post(link).status_code == 302
        run("login_link")
        assert User.objects.count() == 1

    def test_a_named_user_gets_one_and_a_stranger_is_not_made(self, client: Client, ada: User) -> None:
        assert client.post(run("login_link", "ada")).status_code == 302
        with pytest.raises(CommandError, match=r"there is no user 'bob'; make one: manage\.py invite bob"):
            run("login_link", "bob")
        User.objects.update(is_active=False)
        with pytest.raises(CommandError, match="not active"):
            run("login_link", "ada")

    def test_an_invitation_makes_an_ordinary_user_for_three_days(self, client: Client) -> None:
        link = run("invite", "grace", "--email", "grace@example.org")
        grace = User.objects.get()
        assert (grace.is_superuser, grace.is_staff, grace.email) == (False, False, "grace@example.org")
        with time_machine.travel(timezone.now() + timedelta(days=2, hours=23), tick=False):
            assert client.get(link).status_code == 200
        with time_machine.travel(timezone.now() + timedelta(days=3, minutes=5), tick=False):
            assert client.get(link).status_code == 410
        assert client.post(link).status_code == 302

    def test_an_administrator_is_made_only_when_asked_for(self) -> None:
        run("invite", "grace", "--admin")
        assert User.objects.get().is_superuser

    @pytest.mark.parametrize("name", ["ada", "two words", "", "x" * 151, "<script>"])
    def test_a_name_that_is_taken_or_unfit_is_refused(self, ada: User, name: str) -> None:
        with pytest.raises(CommandError, match="cannot be made"):
            run("invite", name)
        assert User.objects.count() == 1


class TestGuessing:
    def test_after_ten_wrong_passwords_the_right_one_is_refused_for_a_while(self, client: Client, ada: User) -> None:
        for _ in range(10):
            answer = client.post("/login/", {"username": "ada", "password": "wrong"})
        assert answer.status_code == 429
        assert b"Too many attempts" in answer.content
        right = {"username": "ada", "password": "an old password"}
        assert client.post("/login/", right).status_code == 429
        with time_machine.travel(timezone.now() + timedelta(minutes=16), tick=False):
            assert client.post("/login/", right).status_code == 302

    def test_nobody_else_is_locked_out_and_a_link_still_works(self, client: Client, ada: User) -> None:
        User.objects.create_user("eve", password="eves own password")
        for _ in range(10):
            client.post("/login/", {"username": "ada", "password": "wrong"})
        assert Client().post("/login/", {"username": "eve", "password": "eves own password"}).status_code == 302
        elsewhere = Client(REMOTE_ADDR="10.1.2.3")
        assert elsewhere.post("/login/", {"username": "ada", "password": "an old password"}).status_code == 302
        ada.refresh_from_db()
        assert client.post(path(link_for(ada))).status_code == 302

"""API tokens: hashed, shown once, revocable, and of no use after their time or their user's."""

from __future__ import annotations

import io
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone

from orchestration.errors import BadInput, NotFound
from orchestration.models import ApiToken
from orchestration.services.access import create_token, find_token, revoke_token, user_of_token

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada(db: None) -> User:
    return User.objects.create_user("ada")


def test_a_secret_finds_its_user_and_is_not_stored(ada: User) -> None:
    token, secret = create_token(ada, "nightly", timedelta(days=3))
    assert re.fullmatch(r"cmk_[A-Za-z0-9_-]{43}", secret)
    assert user_of_token(secret) == ada
    row = ApiToken.objects.filter(pk=token.pk).values().get()
    assert not [value for value in row.values() if secret in str(value)]
    assert secret.startswith(row["shown"])
    assert len(row["shown"]) < 16


@pytest.mark.parametrize(
    "wrong", ["", "cmk_", "cmk_" + "a" * 43, "Bearer x", "cmk_" + "é" * 43, "cmk_" + "a" * 10**6, None, 7]
)
def test_anything_else_finds_nobody(ada: User, wrong: Any) -> None:
    create_token(ada, "nightly")
    assert user_of_token(wrong) is None


def test_a_token_opens_nothing_after_its_time(ada: User) -> None:
    token, secret = create_token(ada, "nightly", timedelta(seconds=60))
    ApiToken.objects.filter(pk=token.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert user_of_token(secret) is None


def test_a_token_opens_nothing_once_it_is_revoked_and_revoking_twice_is_no_error(ada: User) -> None:
    token, secret = create_token(ada, "nightly")
    first = revoke_token(token.pk, by=ada).revoked_at
    assert user_of_token(secret) is None
    assert revoke_token(token.pk, by=ada).revoked_at == first


def test_a_user_who_is_switched_off_has_no_tokens(ada: User) -> None:
    _, secret = create_token(ada, "nightly")
    User.objects.update(is_active=False)
    assert user_of_token(secret) is None


def test_nobody_revokes_the_token_of_another_but_a_superuser_may(ada: User) -> None:
    token, secret = create_token(ada, "nightly")
    with pytest.raises(NotFound):
        revoke_token(token.pk, by=User.objects.create_user("mallory"))
    assert user_of_token(secret) == ada
    revoke_token(token.pk, by=User.objects.create_superuser("root"))
    assert user_of_token(secret) is None


def test_a_use_is_noted_at_most_once_a_minute(ada: User, django_assert_num_queries: Any) -> None:
    token, secret = create_token(ada, "nightly")
    assert find_token(secret) is not None
    token.refresh_from_db()
    assert token.last_used_at is not None
    with django_assert_num_queries(1):
        find_token(secret)
    ApiToken.objects.update(last_used_at=timezone.now() - timedelta(seconds=61))
    find_token(secret)
    token.refresh_from_db()
    assert timezone.now() - token.last_used_at < timedelta(seconds=30)


@pytest.mark.parametrize("name", ["", "  ", "two\nlines", "nul\x00", "\x1b[31mred", "n" * 81])
def test_a_bad_name_is_refused(ada: User, name: str) -> None:
    with pytest.raises(BadInput):
        create_token(ada, name)


@pytest.mark.parametrize("days", [0, -1, 3651])
def test_a_bad_age_is_refused(ada: User, days: int) -> None:
    with pytest.raises(BadInput):
        create_token(ada, "nightly", timedelta(days=days))


def test_the_command_prints_the_secret_alone(ada: User) -> None:
    out, err = io.StringIO(), io.StringIO()
    call_command("create_token", "ada", "--name", "curl", "--days", "9", stdout=out, stderr=err)
    assert user_of_token(out.getvalue().strip()) == ada
    assert "usable until" in err.getvalue()
    assert out.getvalue().strip() not in err.getvalue()


@pytest.mark.parametrize(
    "words", [("nobody",), ("ada", "--days", "0"), ("ada", "--days", "9" * 12), ("ada", "--name", "")]
)
def test_the_command_refuses_with_a_sentence(ada: User, words: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        call_command("create_token", *words, stdout=io.StringIO(), stderr=io.StringIO())
    assert not ApiToken.objects.exists()


def test_the_command_says_how_somebody_is_made_who_is_not_there(ada: User) -> None:
    with pytest.raises(CommandError, match=r"there is no user 'nobody'; make one: manage\.py invite nobody"):
        call_command("create_token", "nobody", stdout=io.StringIO(), stderr=io.StringIO())

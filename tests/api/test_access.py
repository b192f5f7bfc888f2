"""Who may in: tokens in the header only, the panel's session with CSRF, and nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from orchestration.models import ApiToken, Goal
from orchestration.services.access import create_token, revoke_token
from tests.api.conftest import V1, Api, expect_problem


def test_a_token_opens_and_its_use_is_noted(api: Api, ada: User) -> None:
    assert api.get("/goals").status_code == 200
    assert ApiToken.objects.get(user=ada).last_used_at is not None
    assert api.get("/goals", Authorization=api.headers["Authorization"].replace("Bearer", "bEaReR")).status_code == 200


def test_a_revoked_an_expired_and_a_locked_users_token_are_401(ada: User) -> None:
    revoked, one = create_token(user=ada, name="one")
    expired, two = create_token(user=ada, name="two", expires_in=timedelta(days=1))
    three = create_token(user=ada, name="three")[1]
    assert all(Api(secret).get("/goals").status_code == 200 for secret in (one, two, three))
    revoke_token(revoked.pk, by=ada)
    ApiToken.objects.filter(pk=expired.pk).update(expires_at=timezone.now())
    User.objects.filter(pk=ada.pk).update(is_active=False)
    for secret in (one, two, three):
        found = expect_problem(Api(secret).get("/goals"), 401, "not-authenticated")
        assert "revoked" in found["detail"]


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Bearer x", "Basic YWRhOng=", "cmk_abc", "Bearer cmk_" + "A" * 43, "Bearer \xff\xfe\x80",
     "Bearer " + "A" * 9000, "Bearer cmk_\x00", "\x00", "Bearer a b c", "Token cmk_x", "\u00e9"],
)  # fmt: skip
def test_garbage_in_the_header_is_401_never_500(stranger: Api, header: str) -> None:
    expect_problem(stranger.get("/goals", Authorization=header), 401)
    expect_problem(stranger.post("/goals", {"text": "x"}, Authorization=header), 401)


@pytest.mark.parametrize("name", ["token", "access_token", "api_key", "ACCESS_TOKEN", "q"])
def test_a_token_in_the_address_is_refused_even_beside_a_good_header(api: Api, stranger: Api, name: str) -> None:
    secret = api.headers["Authorization"].split()[1]
    for asked in (stranger, api):
        found = expect_problem(asked.get(f"/goals?{name}={secret}"), 401)
        assert "Authorization: Bearer" in found["detail"]
        assert secret not in found["detail"] + found["instance"]


def test_the_panels_session_reads_and_needs_csrf_to_write(ada: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    assert client.get(f"{V1}/goals").status_code == 200
    wish = {"data": '{"text": "x"}', "content_type": "application/json"}
    found = expect_problem(client.post(f"{V1}/goals", **wish), 403, "forbidden")
    assert "CSRF" in found["detail"]
    client.get("/login/")
    token = client.cookies["csrftoken"].value
    assert client.post(f"{V1}/goals", **wish, headers={"X-CSRFToken": token}).status_code == 202
    assert Goal.objects.get().submitted_by == ada


def test_a_token_needs_no_csrf(api: Api) -> None:
    api.client = Client(enforce_csrf_checks=True)
    assert api.post("/goals", {"text": "x"}).status_code == 202

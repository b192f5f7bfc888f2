"""Every page: a stranger goes to the login, another user sees nothing of yours, hostile text stays text, queries are constant."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from orchestration import services
from orchestration.models import ApiToken, Goal, Plan, Repository, Rollout, Run, Step, Worker
from orchestration.services.access import create_token
from tests.lists.conftest import logged_in

pytestmark = pytest.mark.django_db

PAGES = ["/", "/goals/", "/goals/new/", "/repositories/", "/workers/", "/tokens/"]
LIVE = ["/", "/goals/", "/workers/"]
HOSTILE = "<script>alert(1)</script> \" onload='x' {{ 7|add:7 }} &amp; \u202e"
FRAGMENT = {"HX-Request": "true", "HX-Request-Type": "partial"}


def make(submit: Callable[..., Goal], count: int, **more: Any) -> None:
    """Goals with a plan, a live step and a worker each."""
    for number in range(count):
        goal = submit(f"Goal {number}", **more)
        rollout = Rollout.objects.get(goal=goal)
        plan = Plan.objects.create(rollout=rollout, revision=1, sha256="a" * 64)
        step = Step.objects.create(plan=plan, rollout=rollout, index=0, description="do")
        Run.objects.create(
            goal=goal,
            rollout=rollout,
            plan=plan,
            step=step,
            kind="step",
            queue="execution",
            status="running",
            lease_until=timezone.now(),
            worker="here:1:a",
        )
        now = timezone.now()
        Worker.objects.create(id=f"here:{goal.short_id}", queues=["execution"], started_at=now, seen_at=now)


@pytest.mark.parametrize("page", PAGES)
def test_a_stranger_is_sent_to_the_login(client: Client, page: str) -> None:
    answer = client.get(page)
    assert (answer.status_code, answer.headers["Location"]) == (302, f"/login/?next={page}")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_whole_and_carries_nothing_inline(owner: Client, submit: Callable[..., Goal], page: str) -> None:
    submit()
    text = owner.get(page).content.decode()
    assert text.startswith("<!doctype html>")
    assert len(re.findall(r"<h1\b", text)) == 1
    assert not re.search(r"\sstyle=|\son\w+=|<script>|<style", text)
    assert not re.search(r'(?:src|href)="(?:https?:)?//', text)
    assert len(ids := re.findall(r'\sid="([^"]+)"', text)) == len(set(ids))


@pytest.mark.parametrize("page", LIVE)
def test_the_fragment_is_the_pages_own_live_part(owner: Client, submit: Callable[..., Goal], page: str) -> None:
    submit()
    whole, part = owner.get(page), owner.get(page, headers=FRAGMENT)
    assert "HX-Request-Type" in whole.headers["Vary"]
    text = part.content.decode()
    assert "<html" not in text
    assert "Sell more" in text or page == "/workers/"
    assert f'hx-get="{page}"' in whole.content.decode()


@pytest.mark.parametrize("page", PAGES)
def test_what_people_and_models_wrote_stays_text(
    owner: Client, ada: User, submit: Callable[..., Goal], page: str
) -> None:
    goal = submit(HOSTILE)
    failed = submit("other")
    Goal.objects.filter(pk=failed.pk).update(status="failed", reason=HOSTILE, ended_at=timezone.now())
    Goal.objects.filter(pk=goal.pk).update(status="paused", reason=HOSTILE)
    Repository.objects.create(path=f"/x/{HOSTILE}")
    Worker.objects.create(id=HOSTILE[:100], queues=[HOSTILE], started_at=timezone.now(), seen_at=timezone.now())
    create_token(ada, "<script>alert(1)</script>")
    services.add_schedule(name=HOSTILE, cron="0 * * * *", text=HOSTILE, owner=ada)
    text = owner.get(page).content.decode()
    assert "alert(1)" in text or page == "/goals/new/"
    assert "<script>alert" not in text
    assert " onload='x'" not in text


@pytest.mark.parametrize("page", ["/", "/goals/", "/workers/", "/repositories/"])
def test_another_user_sees_nothing_of_it(other: Client, submit: Callable[..., Goal], page: str) -> None:
    make(submit, 1)
    goal = Goal.objects.get()
    Goal.objects.update(status="paused", reason="private reason")
    text = other.get(page).content.decode()
    assert "Goal 0" not in text
    assert goal.short_id not in text.replace(f"here:{goal.short_id}", "")
    assert "private reason" not in text


def test_another_user_can_neither_copy_a_goal_nor_touch_a_token(other: Client, ada: User, submit: Any) -> None:
    token, _ = create_token(ada, "ada's own")
    assert other.get(f"/goals/new/?from={submit().pk}").status_code == 404
    assert other.post(f"/tokens/{token.pk}/revoke/").status_code == 404
    assert b"own" not in other.get("/tokens/").content
    assert ApiToken.objects.get().revoked_at is None


@pytest.mark.parametrize("page", ["/", "/goals/", "/workers/", "/repositories/"])
def test_it_asks_as_much_for_fifty_goals_as_for_one(
    owner: Client, submit: Callable[..., Goal], shop: Repository, queries: Callable[[Client, str], int], page: str
) -> None:
    make(submit, 1, repo=shop)
    one = queries(owner, f"{page}?page_size=100")
    make(submit, 50, repo=shop)
    assert queries(owner, f"{page}?page_size=100") == one
    assert one < 30


def test_tokens_ask_as_much_for_thirty_as_for_one(owner: Client, ada: User, queries: Any) -> None:
    create_token(ada, "first")
    one = queries(owner, "/tokens/")
    for number in range(30):
        create_token(ada, f"token {number}")
    assert queries(owner, "/tokens/") == one


@pytest.mark.parametrize("page", ["/goals/new/", "/tokens/", "/theme/", "/logout/"])
def test_a_form_without_its_token_changes_nothing_and_says_so(ada: User, page: str) -> None:
    strict = logged_in(ada, enforce_csrf_checks=True)
    answer = strict.post(page, {"text": "Sell more", "name": "nightly", "key": "k", "theme": "dark"})
    assert answer.status_code == 403
    assert b"This form is too old" in answer.content
    assert not Goal.objects.exists()
    assert not ApiToken.objects.exists()
    assert strict.get("/").status_code == 200

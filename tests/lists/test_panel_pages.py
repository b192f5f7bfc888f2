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
from orchestration.models import (
    ApiToken,
    Goal,
    Occurrence,
    Plan,
    RecurringGoal,
    Repository,
    Rollout,
    Run,
    Step,
    Worker,
)
from orchestration.services.access import create_token
from tests.lists.conftest import logged_in
from tests.support.people import team

pytestmark = pytest.mark.django_db

PAGES = ["/", "/goals/", "/goals/new/", "/repositories/", "/workers/", "/tokens/"]
LIVE = ["/", "/goals/", "/workers/"]
HOSTILE = "<script>alert(1)</script> \" onload='x' {{ 7|add:7 }} &amp; \u202e"
RAW = f"{HOSTILE} \x1b[31mred\x9b \u2066"  # as a model, a command or a file name may have it; people's controls are refused
LYING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
TYPED = re.compile(r"<input\b[^>]*>|<textarea\b.*?</textarea>", re.DOTALL)  # a form gives back what was typed
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


@pytest.fixture
def hostile(ada: User, submit: Callable[..., Goal]) -> RecurringGoal:
    """Rows of each kind that a list shows, with harm in every text of theirs."""
    now = timezone.now()
    for columns in (
        {"status": "failed", "ended_at": now},
        {"status": "paused"},
        {"status": "running", "origin": RAW[:40]},
    ):
        repository = Repository.objects.create(team=team(), path=f"/{columns['status']}/{RAW}")
        Goal.objects.filter(pk=submit("x").pk).update(text=RAW, reason=RAW, repository=repository, **columns)
    Worker.objects.create(id=RAW[:100], queues=[RAW], started_at=now, seen_at=now)
    create_token(ada, "nightly")
    ApiToken.objects.update(name=RAW[:80])
    paused = services.add_schedule(name="paused", cron="0 * * * *", text="x", owner=ada)
    services.pause_schedule(paused.pk, by="ada", reason="x")
    RecurringGoal.objects.update(name=RAW[:100], pause_reason=RAW, paused_by=RAW[:100])
    schedule = services.add_schedule(name="nightly", cron="0 * * * *", text="x", owner=ada)
    schedule.name, schedule.text, schedule.trouble, schedule.checks = RAW[:110], RAW, RAW, [RAW]
    schedule.base_ref, schedule.repository = RAW[:110], repository
    schedule.save()
    Occurrence.objects.create(schedule=schedule, due_at=now, outcome="refused", reason=RAW)
    return schedule


@pytest.mark.parametrize("page", [*PAGES, "/schedules/", "/schedules/{}/", "/schedules/{}/change/"])
def test_what_people_and_models_wrote_stays_text(owner: Client, hostile: RecurringGoal, page: str) -> None:
    text = owner.get(page.format(hostile.pk)).content.decode()
    assert "alert(1)" in text
    assert "<script>alert" not in text
    assert " onload='x'" not in text
    assert LYING.findall(TYPED.sub("", text)) == []


@pytest.mark.parametrize("address", ["/nowhere%E2%80%AE%1B[31m", "/goals/?q=%E2%80%AE&owner=%C2%9B&status=%1B[31m"])
def test_an_address_is_repeated_without_its_lying_characters(owner: Client, submit: Any, address: str) -> None:
    submit()
    assert LYING.findall(TYPED.sub("", owner.get(address).content.decode())) == []


def test_neither_a_message_nor_the_login_lets_a_lying_character_through(
    owner: Client, client: Client, ada: User
) -> None:
    token, _ = create_token(ada, "\u202enightly")
    said = owner.post(f"/tokens/{token.pk}/revoke/", follow=True).content.decode()
    assert "nightly opens nothing any more" in said
    assert LYING.findall(said) == []
    shown = client.get("/login/?next=/%E2%80%AE").content.decode()
    assert LYING.findall(TYPED.sub("", shown)) == []


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

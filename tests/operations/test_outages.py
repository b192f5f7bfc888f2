"""What is away is told wherever somebody looks: pages, goal, API, command, doctor, numbers."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from orchestration import dispatch, doctor, metrics, services, story
from orchestration.models import Breaker, Goal, Worker
from orchestration.selectors.outages import held_queues, outages
from tests.support.people import member

pytestmark = pytest.mark.django_db
NAME = "model qwen at http://10.0.0.7:8000/v1"
SAID = "the model's server failed (HTTP 503). <b>out of order</b>"


@pytest.fixture(autouse=True)
def nobody_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_publisher", dispatch.publish_nothing)


def a_worker(*queues: str, needs: tuple[str, ...] = (NAME,)) -> Worker:
    now = timezone.now()
    name = f"host:{Worker.objects.count()}:a"
    return Worker.objects.create(id=name, queues=list(queues), needs=list(needs), started_at=now, seen_at=now)


@pytest.fixture
def away() -> Breaker:
    a_worker("planning", "execution", "review", "default")
    now = timezone.now()
    until = now + timedelta(seconds=20)
    return Breaker.objects.create(
        name=NAME, status="open", failures=3, failed_at=now, opened_at=now, probe_at=until, last_error=SAID
    )


@pytest.fixture
def goal(away: Breaker) -> Goal:
    return services.submit_goal("Write a note", by=member("ana"))


@pytest.fixture
def page(goal: Goal) -> Client:
    client = Client()
    client.force_login(User.objects.get(username="ana"))
    return client


def test_a_queue_is_held_when_none_of_its_workers_can_do_without(away: Breaker) -> None:
    assert set(held_queues()) == {"planning", "execution", "review", "default"}
    a_worker("execution", needs=("model other at http://elsewhere/v1",))
    assert set(held_queues()) == {"planning", "review", "default"}
    Worker.objects.update(seen_at=timezone.now() - timedelta(minutes=5))
    assert held_queues() == {}, "nobody serves them, which is another trouble"


def test_while_all_is_well_one_statement_says_so() -> None:
    Breaker.objects.create(name=NAME, failures=1)
    with CaptureQueriesContext(connection) as asked:
        assert outages() == []
    assert len(asked) == 1


@pytest.mark.parametrize("address", ["/", "/workers/"])
def test_pages_say_what_is_away_since_when_and_why(page: Client, address: str) -> None:
    text = page.get(address).content.decode()
    assert f"<code>{NAME}</code>" in text
    assert "&lt;b&gt;out of order&lt;/b&gt;" in text
    assert "planning, execution, review, default waits" in text


def test_a_goal_says_what_it_waits_for(page: Client, goal: Goal, away: Breaker) -> None:
    assert away.opened_at is not None
    said = f"The planner is waiting for {NAME} since {timezone.localtime(away.opened_at):%H:%M:%S}: the model&#x27;s server failed"
    assert said in page.get(f"/goals/{goal.pk}/").content.decode()
    plain = said.replace("&#x27;", "'")
    assert page.get(f"/api/v1/goals/{goal.pk}").json()["why"].startswith(plain)
    assert story.story(goal)["why"].startswith(plain)
    out = StringIO()
    call_command("goal", "show", goal.short_id, stdout=out)
    assert plain in out.getvalue()


def test_the_api_lists_them(page: Client) -> None:
    (found,) = page.get("/api/v1/breakers").json()["results"]
    assert (found["name"], found["status"], found["last_error"]) == (NAME, "open", SAID)


def test_the_numbers_and_doctor_tell_it(away: Breaker) -> None:
    assert f'compymac_breaker_open{{dependency="{NAME}"}} 1.0' in metrics.render().decode()
    (finding,) = doctor._breakers()
    assert (finding.status, finding.remedy.endswith(f"manage.py breakers --close '{NAME}'")) == ("warn", True)
    services.close_breaker(NAME)
    assert f'compymac_breaker_open{{dependency="{NAME}"}} 0.0' in metrics.render().decode()
    assert list(doctor._breakers()) == []


def test_the_command_shows_and_closes(away: Breaker) -> None:
    out = StringIO()
    call_command("breakers", stdout=out)
    assert out.getvalue().startswith(f"open       {NAME} since ")
    with pytest.raises(CommandError, match="there is no breaker 'qwen'"):
        call_command("breakers", "--close", "qwen")
    out = StringIO()
    call_command("breakers", "--close", NAME, "--json", stdout=out)
    assert json.loads(out.getvalue())[0]["status"] == "closed"

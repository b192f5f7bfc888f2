"""The pages of schedules: whose they are, what they say, and that what somebody typed is text."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from orchestration import dispatch, services
from orchestration.models import Goal, RecurringGoal

pytestmark = pytest.mark.django_db
HOSTILE = "<script>alert(1)</script>"
TYPED = {
    "name": HOSTILE,
    "cron": "30 2 * * *",
    "zone": "Europe/Berlin",
    "text": f"Keep {HOSTILE}",
    "checks": f"true\n\necho {HOSTILE}",
    "overlap": "queue",
    "missed": "skip",
    "rollouts_wanted": "1",
    "max_calls": "9",
}


@pytest.fixture(autouse=True)
def nobody_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_publisher", dispatch.publish_nothing)


@pytest.fixture
def ada(db: None) -> Client:
    return of("ada")


def of(name: str) -> Client:
    client = Client()
    client.force_login(User.objects.get_or_create(username=name)[0])
    return client


def added(client: Client, **more: Any) -> RecurringGoal:
    answer = client.post(reverse("orchestration:schedule-new"), TYPED | more)
    assert answer.status_code == 302, answer.content.decode()[:3000]
    return RecurringGoal.objects.get()


def test_an_empty_list_says_how_to_make_the_first(ada: Client) -> None:
    page = ada.get("/schedules/").content.decode()
    assert "No schedules yet" in page
    assert "manage.py schedule add" in page
    assert "celery-beat has never ticked here" in page


def test_a_schedule_is_made_changed_paused_resumed_run_and_removed(ada: Client) -> None:
    schedule = added(ada)
    assert (schedule.checks, schedule.limits, str(schedule.owner)) == (["true", f"echo {HOSTILE}"], {"calls": 9}, "ada")
    page = reverse("orchestration:schedule-detail", args=[schedule.pk])
    assert ada.get(page).status_code == 200
    assert ada.post(f"{page}change/", TYPED | {"name": "nightly", "cron": "0 4 * * *"}).status_code == 302
    shown = ada.get(page).content.decode()
    assert "At 04:00" in shown
    assert "04:00 CE" in shown, "its times are told in its own zone"
    ada.post(f"{page}pause/", {"reason": HOSTILE})
    shown = ada.get(page).content.decode()
    assert "Paused by ada" in shown
    assert HOSTILE not in shown
    assert "None while it is paused" in shown
    ada.post(f"{page}resume/")
    ada.post(f"{page}run/")
    ada.post(f"{page}run/")
    assert Goal.objects.get().occurrence.by == "ada"
    ada.post(f"{page}remove/")
    assert not RecurringGoal.objects.exists()


def test_what_was_typed_is_text_on_every_page(ada: Client) -> None:
    schedule = added(ada)
    services.run_now(schedule.pk, by="ada")
    RecurringGoal.objects.update(trouble=HOSTILE)
    for url in ("/schedules/", f"/schedules/{schedule.pk}/", f"/schedules/{schedule.pk}/change/"):
        shown = ada.get(url).content.decode()
        assert "&lt;script&gt;" in shown
        assert HOSTILE not in shown


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"cron": "99 * * * *"}, "99"),
        ({"zone": "Mars"}, "IANA"),
        ({"text": ""}, "required"),
        ({"max_calls": "1000000"}, "must be a number from 1"),
        ({"rollouts_wanted": "99"}, "16"),
        ({"repository": "3e6b1f1c-0000-4000-8000-000000000000"}, "valid choice"),
    ],
)
def test_a_mistake_is_said_at_the_form_and_what_was_typed_stays(ada: Client, typed: dict[str, str], said: str) -> None:
    answer = ada.post("/schedules/new/", TYPED | {"name": "my nightly"} | typed)
    assert answer.status_code == 422
    shown = answer.content.decode()
    assert said in shown
    assert "my nightly" in shown
    assert not RecurringGoal.objects.exists()


def test_other_peoples_schedules_are_not_found(ada: Client) -> None:
    schedule = added(ada)
    eve = of("eve")
    assert HOSTILE.encode() not in eve.get("/schedules/").content
    assert b"No schedules yet" in eve.get("/schedules/").content
    assert eve.get(f"/schedules/{schedule.pk}/").status_code == 404
    for verb in ("change", "run", "pause", "resume", "remove"):
        assert eve.post(f"/schedules/{schedule.pk}/{verb}/").status_code == 404
    assert not Goal.objects.exists()


def test_a_stranger_logs_in_first_and_a_form_needs_its_token(ada: Client) -> None:
    assert Client().get("/schedules/").status_code == 302
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.get(username="ada"))
    assert strict.post("/schedules/new/", TYPED).status_code == 403


def test_a_page_takes_the_same_queries_for_one_and_for_many(ada: Client) -> None:
    owner, counts = User.objects.get(username="ada"), []
    for more in (1, 14):
        for number in range(more):
            services.add_schedule(name=f"{more}-{number}", cron="0 1 * * *", text="x", owner=owner)
        with CaptureQueriesContext(connection) as asked:
            assert ada.get("/schedules/").status_code == 200
        counts.append(len(asked))
    assert counts[0] == counts[1]

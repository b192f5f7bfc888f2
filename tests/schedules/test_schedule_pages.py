"""The pages of schedules: whose they are, what they say, and that what somebody typed is text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from orchestration import dispatch, services
from orchestration.models import Goal, RecurringGoal, Repository
from tests.support.people import join, team

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
    client.force_login(
        join(User.objects.get_or_create(username=name)[0], team_name="default" if name == "ada" else name)
    )
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
    assert "A worker of the <code>default</code> queue takes its ticks" in page, (
        "or one would look for the fault in beat"
    )


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


def test_a_form_posted_twice_makes_one_and_one_gone_back_to_and_changed_makes_another(ada: Client) -> None:
    shown = ada.get("/schedules/new/").content.decode()
    (key,) = re.findall(r'name="key" value="([^"]+)"', shown)
    first = added(ada, key=key)
    again = ada.post("/schedules/new/", TYPED | {"key": key})
    assert str(first.pk) in again.headers["Location"]
    assert RecurringGoal.objects.count() == 1
    ada.post("/schedules/new/", TYPED | {"key": key, "name": "another"})
    assert sorted(RecurringGoal.objects.values_list("name", flat=True)) == [HOSTILE, "another"]
    answer = of("eve").post("/schedules/new/", TYPED | {"key": key})
    assert str(first.pk) not in answer.headers["Location"], "a key leads nobody to a schedule of somebody else"
    assert RecurringGoal.objects.get(owner__username="eve")


def test_a_repository_is_taken_away_in_the_form(ada: Client, open_folder: Path) -> None:
    schedule = added(ada)
    RecurringGoal.objects.update(repository=Repository.objects.create(team=team(), path=str(open_folder)))
    ada.post(f"/schedules/{schedule.pk}/change/", TYPED | {"repository": ""})
    schedule.refresh_from_db()
    assert schedule.repository is None


def test_another_name_does_not_take_a_removed_repository_away(ada: Client, open_folder: Path) -> None:
    schedule = added(ada)
    place = Repository.objects.create(team=team(), path=str(open_folder), removed_at=timezone.now())
    RecurringGoal.objects.update(repository=place)
    shown = ada.get(f"/schedules/{schedule.pk}/change/").content.decode()
    assert f'value="{place.pk}" selected' in shown
    ada.post(f"/schedules/{schedule.pk}/change/", TYPED | {"name": "another", "repository": str(place.pk)})
    schedule.refresh_from_db()
    assert (schedule.name, schedule.repository) == ("another", place)


def test_a_zone_that_is_not_known_here_breaks_no_page(ada: Client) -> None:
    schedule = added(ada)
    RecurringGoal.objects.update(zone="US/Atlantis")
    assert ada.get("/schedules/").status_code == 200
    assert "not known on this machine" in ada.get(f"/schedules/{schedule.pk}/").content.decode()


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


@pytest.mark.parametrize("page", ["/schedules/", "/schedules/{}/"])
def test_a_page_takes_the_same_queries_for_one_and_for_many(ada: Client, page: str) -> None:
    schedule = added(ada)
    url, owner, counts = page.format(schedule.pk), User.objects.get(username="ada"), []
    for more in (1, 15):
        for number in range(more):
            services.add_schedule(name=f"s{number}", cron="0 1 * * *", text="x", owner=owner)
            services.run_now(schedule.pk, by=f"somebody {more} {number}")
        with CaptureQueriesContext(connection) as asked:
            ada.get(url)
        counts.append(len(asked))
    assert counts[0] == counts[1]


def test_a_long_list_comes_in_pages_by_name(ada: Client) -> None:
    owner = User.objects.get(username="ada")
    for number in range(60):
        services.add_schedule(name=f"nightly {number:02}", cron="0 1 * * *", text="x", owner=owner)

    def names(address: str) -> list[str]:
        return re.findall(r">(nightly \d\d)</a>", ada.get(address).content.decode())

    assert names("/schedules/") == [f"nightly {number:02}" for number in range(25)]
    first = ada.get("/schedules/").content.decode()
    assert "1 to 25 of 60" in first
    assert 'href="?page=2" rel="next"' in first
    assert names("/schedules/?page=3") == [f"nightly {number}" for number in range(50, 60)]
    last = ada.get("/schedules/?page=3").content.decode()
    assert 'rel="next"' not in last
    assert 'href="?page=2" rel="prev"' in last
    for garbage in ("", "x", "0", "-1", "9" * 5000, "%00", "1.5"):
        assert len(names(f"/schedules/?page={garbage}")) in (25, 10), garbage


def test_a_schedule_that_goes_while_its_page_is_posted_is_not_found(ada: Client) -> None:
    """As two who press Remove at once: the slower one's row goes after its view has read it."""
    schedule = added(ada)
    page = reverse("orchestration:schedule-detail", args=[schedule.pk])

    def gone_meanwhile(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        answer = execute(sql, params, many, context)
        if sql.startswith("SELECT") and 'FROM "orchestration_recurringgoal"' in sql:
            hook.__exit__(None, None, None)
            RecurringGoal.objects.all().delete()
        return answer

    hook = connection.execute_wrapper(gone_meanwhile)
    hook.__enter__()
    assert ada.post(f"{page}remove/").status_code == 404


def test_who_looks_at_its_goals_plans_and_results_is_chosen_kept_and_reaches_the_goals(ada: Client) -> None:
    chosen = {"review_when": "each_step", "reviewed_by": "llm_then_human", "ask_below": "0.5"}
    chosen |= {"approve": "protected", "approve_above": "5", "four_eyes": "on", "approval_hours": "4"}
    schedule = added(ada, **chosen, on_expiry="pause")
    assert schedule.review == {"review_when": "each_step", "reviewed_by": "llm_then_human", "ask_below": 0.5}
    assert (schedule.approval["policy"], schedule.approval["above_usd"]) == ("protected", "5")
    RecurringGoal.objects.update(approval={**schedule.approval, "protected": ["deploy/*"]})

    page = reverse("orchestration:schedule-detail", args=[schedule.pk])
    form = ada.get(f"{page}change/").context["form"]
    shown = {field.name: field.value() for field in form if field.name in (*chosen, "on_expiry")}
    assert shown == {**chosen, "ask_below": 0.5, "four_eyes": True, "approval_hours": 4, "on_expiry": "pause"}, (
        "or Save would change what nobody touched"
    )
    saved = TYPED | {name: value for name, value in shown.items() if value is not None}
    assert ada.post(f"{page}change/", saved).status_code == 302

    ada.post(f"{page}run/")
    goal = Goal.objects.get()
    assert (goal.review_when, goal.reviewed_by, goal.ask_below) == ("each_step", "llm_then_human", 0.5)
    assert goal.approval["protected"] == ["deploy/*"], "no form shows them, so none may take them away"
    assert (goal.approval["four_eyes"], goal.approval["hours"], goal.approval["on_expiry"]) == (True, 4, "pause")


def test_a_schedule_whose_policies_are_left_alone_has_the_usual_ones(ada: Client) -> None:
    schedule = added(ada)
    assert schedule.review["review_when"] == "final"
    assert schedule.approval == {}, "nobody is asked"


def test_an_amount_that_is_none_is_told_and_nothing_that_was_typed_is_lost(ada: Client) -> None:
    answer = ada.post(reverse("orchestration:schedule-new"), TYPED | {"approve_above": "much"})
    assert not RecurringGoal.objects.exists()
    assert "much" in answer.content.decode()

"""The admin: each kind of row has a list with a search, and none can be changed there."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import quote
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django_celery_results.models import TaskResult

import orchestration.admin  # noqa: F401 - else it is only there once a page was asked for
from orchestration import services
from orchestration.blobs import save_blob
from orchestration.models import Artifact, Call, Goal, IdempotencyKey, Run, Worker
from orchestration.services.access import create_token
from tests.support.people import member
from tests.support.world import Texts, hostile_goal

LYING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
MODELS = list(apps.get_app_config("orchestration").get_models())


@pytest.fixture
def boss(db: None) -> Client:
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("boss", "boss@example.org", "x"))
    return client


@pytest.fixture
def goal(db: None) -> Goal:
    return services.submit_goal("Write a note <script>alert(1)</script>")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_each_model_has_a_list_that_can_be_searched_and_no_way_to_add(boss: Client, goal: Goal, model: Any) -> None:
    assert admin.site.is_registered(model)
    name = model._meta.model_name
    listing = reverse(f"admin:orchestration_{name}_changelist")
    assert boss.get(listing).status_code == 200
    assert boss.get(listing, {"q": "note"}).status_code == 200
    assert boss.post(reverse(f"admin:orchestration_{name}_add"), {}).status_code == 403


def test_a_row_is_shown_escaped_and_not_changed_or_deleted(boss: Client, goal: Goal) -> None:
    page = reverse("admin:orchestration_goal_change", args=[goal.pk])
    shown = boss.get(page)
    assert shown.status_code == 200
    assert b"<script>alert(1)" not in shown.content
    assert boss.post(page, {"status": "succeeded"}).status_code == 403
    assert boss.post(reverse("admin:orchestration_goal_delete", args=[goal.pk]), {"post": "yes"}).status_code == 403
    goal.refresh_from_db()
    assert goal.status != "succeeded"


def test_no_character_lies_about_the_text_around_it(boss: Client) -> None:
    """Nor does HTML come alive, in a list or on a page of any kind of row."""
    goal = hostile_goal(get_user_model().objects.get(), Texts())
    Goal.objects.filter(pk=goal.pk).update(reason="nightly \x1b[31m\u202egnp.exe")
    shown = 0
    for model in MODELS:
        name = f"admin:orchestration_{model._meta.model_name}"
        rows = [reverse(f"{name}_change", args=[quote(pk)]) for pk in model.objects.values_list("pk", flat=True)]
        for address in (reverse(f"{name}_changelist"), f"{reverse(f'{name}_changelist')}?q=%E2%80%AE", *rows):
            page = boss.get(address).content.decode()
            shown += page.count("&lt;script&gt;")
            assert "<script>alert" not in page
            assert LYING.findall(page) == [], address
    assert shown > 50


def test_a_stranger_is_sent_to_the_login(client: Client, goal: Goal) -> None:
    answer = client.get(reverse("admin:orchestration_goal_changelist"))
    assert answer.status_code == 302
    assert "login" in answer["Location"]


def test_the_bytes_of_an_artifact_are_never_loaded(boss: Client, goal: Goal) -> None:
    save_blob("patch", b"secret bytes" * 1000, media_type="text/plain", goal=goal)
    page = reverse("admin:orchestration_artifact_change", args=[Artifact.objects.get().pk])
    with CaptureQueriesContext(connection) as asked:
        boss.get(reverse("admin:orchestration_artifact_changelist"))
        assert boss.get(page).status_code == 200
    read = [query["sql"] for query in asked if 'FROM "orchestration_artifact"' in query["sql"]]
    assert read
    assert not [sql for sql in read if '"orchestration_artifact"."data"' in sql.split(" FROM ")[0]]


def test_a_list_asks_a_bounded_number_of_queries(boss: Client, goal: Goal) -> None:
    counts = []
    for more in (1, 12):
        for _ in range(more):
            services.submit_goal("Another")
        with CaptureQueriesContext(connection) as asked:
            boss.get(reverse("admin:orchestration_run_changelist"))
        counts.append(len(asked))
    assert Run.objects.count() == 14
    assert counts[0] == counts[1]


# ---- the way through, actions, downloads, Celery's own tables


def test_from_a_goal_the_links_lead_down_to_the_calls_and_back_up(boss: Client, goal: Goal) -> None:
    run = Run.objects.get(goal=goal)
    Call.objects.create(run=run, turn=1, index=0, kind="llm", fence=1, request_hash="x")
    for row, below in ((goal, "rollout/?goal"), (goal.rollouts.get(), "run/?rollout"), (run, "call/?run")):
        page = reverse(f"admin:orchestration_{row._meta.model_name}_change", args=[row.pk])
        shown = boss.get(page).content.decode()
        assert f"/admin/orchestration/{below}__id__exact={row.pk}" in shown
    for down in re.findall(r'href="(/admin/orchestration/\w+/\?[^"]+)"', shown):
        assert boss.get(down).status_code == 200
    assert reverse("admin:orchestration_goal_change", args=[goal.pk]) in shown, "and up again"


def test_actions_tell_for_each_goal_what_happened(boss: Client, goal: Goal) -> None:
    other = services.submit_goal("Another")
    services.cancel_goal(other.pk)
    chosen = {ACTION_CHECKBOX_NAME: [str(goal.pk), str(other.pk)], "reason": "not now"}
    listing = reverse("admin:orchestration_goal_changelist")
    said = boss.post(listing, chosen | {"action": "pause"}, follow=True).content.decode()
    assert f"{goal.short_id}: is paused" in said
    said = boss.post(listing, chosen | {"action": "cancel"}, follow=True).content.decode()
    assert f"{goal.short_id}: is cancelled" in said
    assert f"{other.short_id}: goal {other.short_id} is cancelled already" in html.unescape(said)
    said = boss.post(listing, chosen | {"action": "retry"}, follow=True).content.decode()
    assert said.count("its retry is goal") == 2
    asked = goal.events.get(kind="goal.cancel_asked")
    assert (asked.by, asked.reason) == ("boss", "not now")


def test_a_retry_that_is_sent_twice_is_one_goal_for_each(boss: Client, goal: Goal) -> None:
    other = services.submit_goal("Another")
    for row in (goal, other):
        services.cancel_goal(row.pk)
    listing = reverse("admin:orchestration_goal_changelist")
    key = re.search(r'name="key" value="(\w+)"', boss.get(listing).content.decode())
    assert key is not None
    chosen = {ACTION_CHECKBOX_NAME: [str(goal.pk), str(other.pk)], "action": "retry", "key": key.group(1)}
    for _ in range(2):
        boss.post(listing, chosen)
    assert [Goal.objects.filter(retry_of=row).count() for row in (goal, other)] == [1, 1]


def test_schedules_are_run_paused_and_resumed(boss: Client) -> None:
    schedule = services.add_schedule(name="nightly", cron="30 2 * * *", text="x", zone="Europe/Berlin")
    chosen = {ACTION_CHECKBOX_NAME: [str(schedule.pk)], "reason": "holidays"}
    listing = reverse("admin:orchestration_recurringgoal_changelist")
    for action, said in (("run_now", "is submitted"), ("pause", "paused by boss"), ("resume", "goes on")):
        assert said in boss.post(listing, chosen | {"action": action}, follow=True).content.decode()
    page = boss.get(reverse("admin:orchestration_recurringgoal_change", args=[schedule.pk])).content.decode()
    assert page.count("02:30 CE") == 5


def test_staff_who_may_only_look_have_no_actions(goal: Goal) -> None:
    looker = member("looker", is_staff=True)
    looker.user_permissions.add(Permission.objects.get(codename="view_goal"))
    client = Client()
    client.force_login(looker)
    listing = reverse("admin:orchestration_goal_changelist")
    assert b"Cancel the selected goals" not in client.get(listing).content
    client.post(listing, {ACTION_CHECKBOX_NAME: [str(goal.pk)], "action": "cancel"})
    goal.refresh_from_db()
    assert goal.cancelled_at is None


def test_an_artifact_comes_as_a_file_that_no_browser_renders(boss: Client, goal: Goal) -> None:
    page = b"<script>alert(1)</script>"
    row = save_blob("output", page, media_type="text/html", goal=goal)
    answer = boss.get(reverse("admin:orchestration_artifact_download", args=[row.pk]))
    assert answer.content == page
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "sandbox"
    assert boss.get(reverse("admin:orchestration_artifact_download", args=["none/such"])).status_code == 404


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("artifact/%00/download/", 404), ("artifact/a%00b/change/", 404), ("worker/a%00b/change/", 404),
        ("artifact/?kind__exact=%00", 400), ("worker/?id__exact=a%00b", 400), ("goal/?status__exact=%00", 400),
        ("goal/?q=%00", 200), ("goal/?p=1000000000", 200), ("goal/nothing/change/", 302), ("run/?goal__id__exact=x", 302),
    ],
)  # fmt: skip
def test_addresses_that_lead_nowhere_break_nothing(boss: Client, goal: Goal, address: str, status: int) -> None:
    assert boss.get(f"/admin/orchestration/{address}").status_code == status


def test_celerys_tables_are_there_and_an_empty_one_says_how_to_fill_it(boss: Client) -> None:
    assert b"CELERY_STORE_RESULTS=1" in boss.get("/admin/django_celery_results/taskresult/").content
    for table in ("periodictask", "crontabschedule", "intervalschedule"):
        assert boss.get(f"/admin/django_celery_beat/{table}/").status_code == 200
    TaskResult.objects.create(task_id="1", task_name="plan_task", status="SUCCESS")
    assert b"CELERY_STORE_RESULTS=1" not in boss.get("/admin/django_celery_results/taskresult/").content


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_no_page_brings_inline_script_or_style(boss: Client, goal: Goal, model: Any) -> None:
    shown = boss.get(reverse(f"admin:orchestration_{model._meta.model_name}_changelist"))
    assert "script-src 'self'" in shown.headers["Content-Security-Policy"]
    assert not re.search(rb"<script(?![^>]*\b(src|type=.application/json))|<style|\son\w+=\"", shown.content)


@pytest.mark.parametrize(
    "table", ["periodictask", "crontabschedule", "intervalschedule", "clockedschedule", "solarschedule"]
)
def test_the_forms_of_celery_beat_bring_no_inline_script_either(boss: Client, table: str) -> None:
    shown = boss.get(f"/admin/django_celery_beat/{table}/add/")
    assert shown.status_code == 200
    assert not re.search(rb"<script(?![^>]*\b(src|type=.application/json))|<style|\son\w+=\"", shown.content)


def test_every_list_asks_as_often_for_many_as_for_one(boss: Client) -> None:
    few, lots = (asked_by_each_list(boss, more) for more in (1, 4))
    assert few == lots


def asked_by_each_list(boss: Client, more: int) -> dict[str, int]:
    """How many queries each list takes, after so many more goals, schedules and people with all that belongs to them."""
    for number in range(more):
        person = member(f"{more}-{number}")
        hostile_goal(person, Texts())
        create_token(person, "curl")
        now = timezone.now()
        schedule = services.add_schedule(name=f"{more}-{number}", cron="0 1 * * *", text="x", owner=person)
        services.run_now(schedule.pk, by="boss")
        IdempotencyKey.objects.create(user=person, key="x", request_sha256="x")
        Worker.objects.create(id=f"{more}-{number}", queues=["review"], started_at=now, seen_at=now)
    counts = {}
    for model in MODELS:
        with CaptureQueriesContext(connection) as asked:
            boss.get(reverse(f"admin:orchestration_{model._meta.model_name}_changelist"))
        counts[model.__name__] = len(asked)
    return counts

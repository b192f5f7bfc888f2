"""The admin: each kind of row has a list with a search, and none can be changed there."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from orchestration import services
from orchestration.blobs import save_blob
from orchestration.models import Artifact, Goal, Run

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

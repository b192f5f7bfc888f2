"""The first page: what needs a person, what runs, which alarm is on, and what is still to be set up."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as live
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from orchestration import services
from orchestration.checklist import Facts, first_steps
from orchestration.models import Goal, Installation, Run, Worker
from orchestration.selectors.overview import chart, overview_page

pytestmark = pytest.mark.django_db


def part(client: Client, name: str) -> str:
    """One panel of the page as words."""
    text = client.get("/").content.decode()
    found = re.search(rf'<section [^>]*aria-labelledby="{name}".*?</section>', text, re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", found.group())) if found else ""


def worker(queues: list[str], age: float = 0) -> Worker:
    seen = timezone.now() - timedelta(seconds=age)
    return Worker.objects.create(id=f"here:{Worker.objects.count()}", queues=queues, started_at=seen, seen_at=seen)


def put(goal: Goal, **columns: Any) -> Goal:
    Goal.objects.filter(pk=goal.pk).update(**columns)
    return goal


def ticked(ago: float) -> None:
    Installation.objects.get_or_create()
    Installation.objects.update(beat_ticked_at=timezone.now() - timedelta(seconds=ago))


def test_what_needs_a_person_is_named_with_its_reason(owner: Client, submit: Any) -> None:
    now = timezone.now()
    put(submit("Paused one"), status="paused", reason="the limit of tokens is reached")
    put(submit("Failed lately"), status="failed", reason="the glossary check fails", ended_at=now)
    put(submit("Failed long ago"), status="failed", ended_at=now - timedelta(hours=25))
    put(submit("Stuck one"), stuck="Traceback …", status="running")
    put(submit("Works"), status="running")
    retried = put(submit("Failed and retried"), status="failed", ended_at=now)
    put(submit("The retry"), retry_of=retried)
    needs = part(owner, "needs")
    for words in ("Paused one", "limit of tokens", "Failed lately", "The glossary check fails", "Stuck one"):
        assert words in needs
    for words in ("long ago", "Works", "retried", "The retry"):
        assert words not in needs
    assert "Works" in part(owner, "now")
    assert "Stuck one" not in part(owner, "now")


def test_the_last_day_is_counted_by_how_it_ended(owner: Client, submit: Any) -> None:
    now = timezone.now()
    for status, verified, age in (
        ("succeeded", True, 1),
        ("succeeded", True, 23),
        ("succeeded", False, 2),
        ("failed", False, 3),
        ("cancelled", False, 4),
        ("failed", False, 25),
    ):
        put(submit(), status=status, verified=verified, ended_at=now - timedelta(hours=age))
    text = part(owner, "day")
    assert "5 goals ended" in text
    assert re.search(r"verified 2 .*unverified 1 .*Failed 1 .*Cancelled 1", text)
    assert owner.get("/").content.decode().count("<rect class=") == 5


def test_the_bars_stand_on_the_ground_and_fit(ada: User, submit: Any) -> None:
    for status in ("succeeded", "failed", "failed", "cancelled"):
        put(submit(), status=status, ended_at=timezone.now())
    parts = chart(overview_page(ada).day.hours)
    assert [p.kind for p in parts] == ["s-good", "s-bad", ""]
    assert sum(p.height for p in parts) == 32
    assert min(p.y for p in parts) == 0
    assert all(0 <= p.x < 240 for p in parts)


def test_work_that_waits_for_nobody_is_an_alarm_with_its_command(owner: Client, submit: Any) -> None:
    submit()
    text = owner.get("/").content.decode()
    assert "No worker serves the queue <code>planning</code>" in text
    assert "manage.py worker --queues planning" in text
    assert '1<span class="sr"> queue without a worker' in owner.get("/goals/new/").content.decode()
    worker(["planning"], age=300)
    assert "No worker serves the queue" in owner.get("/").content.decode(), "a silent worker serves nothing"
    worker(["planning"])
    assert "No worker serves the queue" not in owner.get("/").content.decode()
    assert "without a worker" not in owner.get("/goals/new/").content.decode()


@pytest.mark.parametrize("address", ["/", "/workers/"])
def test_a_queue_that_nobody_serves_is_named_with_its_command_before_anything_waits(
    owner: Client, address: str
) -> None:
    worker(["planning", "execution", "default"])
    text = owner.get(address).content.decode()
    assert "manage.py worker --queues review" in text
    assert "manage.py worker --queues planning" not in text


def test_nothing_waiting_is_no_alarm(owner: Client, submit: Any) -> None:
    put(submit(), status="paused")
    Run.objects.update(not_before=timezone.now() - timedelta(seconds=5))
    assert "No worker serves the queue" not in owner.get("/").content.decode()


def test_beat_is_an_alarm_only_where_somebody_counts_on_it(owner: Client, ada: User) -> None:
    ticked(3600)
    assert "celery-beat has not ticked since" not in owner.get("/").content.decode()
    services.add_schedule(name="nightly", cron="30 2 * * *", text="Sell more", owner=ada)
    text = owner.get("/").content.decode()
    assert "celery-beat has not ticked since" in text
    assert "celery -A compymac_site beat" in text
    ticked(1)
    assert "celery-beat has not ticked since" not in owner.get("/").content.decode()
    assert "nightly" in part(owner, "coming")


def test_the_next_due_times_come_in_order_and_without_paused_ones(owner: Client, ada: User) -> None:
    ticked(1)
    yearly = services.add_schedule(name="yearly", cron="0 0 29 2 *", text="x", owner=ada)
    services.add_schedule(name="minutely", cron="* * * * *", text="x", owner=ada)
    paused = services.add_schedule(name="stopped", cron="* * * * *", text="x", owner=ada)
    services.pause_schedule(paused.pk, by="ada")
    text = part(owner, "coming")
    assert text.index("minutely") < text.index(yearly.name)
    assert "stopped" not in text


def test_a_fresh_installation_lists_its_first_steps_with_commands(owner: Client, settings: Any) -> None:
    settings.LLM_ENVIRONMENT = dict.fromkeys(live.LLM_ENVIRONMENT, "")
    text = part(owner, "first")
    for words in (
        "LLM_BASE_URL",
        "manage.py worker",
        "celery -A compymac_site beat",
        "manage.py repository add",
        "New goal",
    ):
        assert words in text
    assert "Done" not in text


def test_the_first_steps_go_one_by_one_and_then_altogether(
    owner: Client, submit: Any, shop: Any, settings: Any
) -> None:
    settings.LLM_ENVIRONMENT = {**live.LLM_ENVIRONMENT, "LLM_BASE_URL": "http://127.0.0.1:1/v1", "LLM_MODEL": "m"}
    assert part(owner, "first").count("Done") == 2
    worker(["planning"])
    ticked(1)
    assert part(owner, "first").count("Done") == 4
    submit()
    assert part(owner, "first") == ""


@pytest.mark.parametrize("missing", ["model", "worker", "beat", "repository", "goal"])
def test_each_missing_step_has_a_command_or_a_link(missing: str) -> None:
    everything = dict.fromkeys(("model", "worker", "beat", "repository", "goal"), True)
    assert first_steps(Facts(**everything)) == ()
    steps = first_steps(Facts(**everything | {missing: False}))
    (todo,) = [step for step in steps if not step.done]
    assert bool(todo.command) != bool(todo.link)


def test_workers_show_what_they_work_on_and_fall_silent(owner: Client, other: Client, submit: Any) -> None:
    goal = submit()
    alive = worker(["planning"])
    worker(["review"], age=120)
    Run.objects.update(status="running", worker=alive.pk, lease_until=timezone.now())
    text = owner.get("/workers/").content.decode()
    assert "1 worker lives" in text
    assert "Silent" in text
    assert f"plan of {goal.short_id}" in text
    assert goal.short_id not in other.get("/workers/").content.decode()


def test_no_worker_says_how_to_start_one(owner: Client) -> None:
    text = owner.get("/workers/").content.decode()
    assert "No worker lives" in text
    assert "manage.py worker" in text

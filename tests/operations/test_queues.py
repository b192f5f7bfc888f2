"""A queue that nobody serves is named, with what waits there and the command that starts a worker for it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from orchestration import doctor, services
from orchestration.models import Goal, Run, Worker
from orchestration.selectors.operations import queue_states, unserved_queues

pytestmark = pytest.mark.django_db


def a_worker(*queues: str, seconds_ago: float = 0, threads: int = 4) -> Worker:
    seen = timezone.now() - timedelta(seconds=seconds_ago)
    name = f"host:{Worker.objects.count()}:a"
    return Worker.objects.create(id=name, queues=list(queues), threads=threads, started_at=seen, seen_at=seen)


def test_without_any_worker_each_queue_is_unserved() -> None:
    assert [state.queue for state in unserved_queues()] == ["planning", "execution", "review", "default"]


def test_a_queue_with_a_living_worker_is_served() -> None:
    a_worker("planning", "review")
    a_worker("planning", threads=8)
    states = {state.queue: state for state in queue_states()}
    assert (states["planning"].workers, states["planning"].threads) == (2, 12)
    assert [state.queue for state in unserved_queues()] == ["execution", "default"]


def test_a_worker_that_was_not_seen_for_a_minute_serves_nothing() -> None:
    a_worker("planning", "execution", "review", "default", seconds_ago=90)
    assert len(unserved_queues()) == 4


def test_what_waits_there_is_counted_with_its_age_and_the_command() -> None:
    services.submit_goal("Write a note")
    services.submit_goal("Write another")
    Run.objects.update(
        queued_at=timezone.now() - timedelta(seconds=100), not_before=timezone.now() - timedelta(seconds=100)
    )
    planning = unserved_queues()[0]
    assert (planning.queue, planning.waiting) == ("planning", 2)
    assert planning.oldest_seconds == pytest.approx(100, abs=30)
    assert planning.command == "manage.py worker --queues planning"


def test_a_run_waits_from_when_it_is_due() -> None:
    services.submit_goal("Write a note")
    Run.objects.update(queued_at=timezone.now() - timedelta(hours=1), not_before=timezone.now() - timedelta(seconds=10))
    assert unserved_queues()[0].oldest_seconds == pytest.approx(10, abs=9)
    Run.objects.update(not_before=timezone.now() + timedelta(hours=1))
    assert (unserved_queues()[0].waiting, unserved_queues()[0].oldest_seconds) == (0, None)


def test_a_paused_goal_waits_for_a_person_and_not_for_a_worker() -> None:
    services.pause_goal(services.submit_goal("Write a note").pk, reason="wait")
    assert Goal.objects.get().status == "paused"
    assert unserved_queues()[0].waiting == 0


def test_doctor_names_it_with_the_command() -> None:
    a_worker("planning", "review", "default")
    found = {finding.name: finding for finding in doctor._workers()}
    assert found["queue execution"].status == "warn"
    assert found["queue execution"].remedy == "manage.py worker --queues execution"
    assert "queue planning" not in found


def test_a_misspelt_queue_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(CommandError, match="there is no queue excution; the queues are planning, execution"):
        call_command("worker", "--queues", "planning,excution")

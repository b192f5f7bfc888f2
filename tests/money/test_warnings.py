"""Four fifths of a limit are used: told once for each limit and raise, in the story, on the page and at the shell."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from orchestration import services
from orchestration.budget import of_limit, to_warn_of
from orchestration.models import Budget, Event, Goal
from orchestration.services.warning import goals_near_a_limit
from orchestration.telling import sentence
from tests.lists.conftest import logged_in

LIMITS = {"calls": 10, "tokens": 1000, "commands": 100, "seconds": 1000, "steps": 5, "usd": "2"}
USED = {
    "calls": {"calls": 8},
    "tokens": {"spent_tokens": 800},
    "commands": {"commands": 80},
    "steps": {"steps": 4},
    "usd": {"spent_micro_usd": 1_600_000},
}


def at_work(by: User, **limits: Any) -> Goal:
    """A goal that a worker took on a second ago."""
    goal = services.submit_goal("Sell more", by=by, limits=limits or LIMITS)
    _began(goal, seconds_ago=1)
    return goal


def _began(goal: Goal, seconds_ago: int) -> None:
    begun = timezone.now() - timedelta(seconds=seconds_ago)
    ends = begun + timedelta(seconds=goal.budget.max_seconds)
    Goal.objects.filter(pk=goal.pk).update(status="running", started_at=begun, deadline_at=ends)


def told(goal: Goal) -> list[tuple[str, str]]:
    return list(Event.objects.filter(goal=goal, kind="budget.warned").values_list("subject", "reason"))


@pytest.mark.parametrize(
    ("used", "most", "warned", "told"),
    [
        (79, 100, (), []),
        (80, 100, (), ["calls"]),
        (100, 100, (), ["calls"]),
        (80, 100, ("calls",), []),
        (9, None, (), []),
        (3, 4, (), []),
        (4, 5, (), ["calls"]),
    ],
)
def test_it_is_told_from_four_fifths_on(used: int, most: int | None, warned: Any, told: list[str]) -> None:
    assert to_warn_of({"calls": used}, {"calls": most}, warned) == told


def test_the_words_name_what_is_counted() -> None:
    assert of_limit("calls", 1600, 2000) == "1,600 of 2,000 model calls"
    assert of_limit("usd", 1_600_000, 2_000_000) == "1.60 USD of 2.00 USD"


@pytest.mark.parametrize("limit", USED)
def test_each_limit_is_told_once_by_the_housekeeper(ada: User, limit: str) -> None:
    goal = at_work(ada)
    Budget.objects.filter(pk=goal.pk).update(**{name: value - 1 for name, value in USED[limit].items()})
    assert services.sweep()["warned"] == 0
    Budget.objects.filter(pk=goal.pk).update(**USED[limit])
    assert services.sweep()["warned"] == 1
    assert services.sweep()["warned"] == 0
    assert [name for name, _ in told(goal)] == [limit]
    event = Event.objects.get(goal=goal, kind="budget.warned")
    assert sentence(event.kind, event.subject, "", "", event.reason, event.data).startswith("Four fifths of a limit")


def test_time_is_told_too_and_time_that_was_given_back_is_not_used(ada: User) -> None:
    goal = at_work(ada)
    _began(goal, seconds_ago=801)
    Goal.objects.filter(pk=goal.pk).update(deadline_at=timezone.now() + timedelta(seconds=300))
    assert services.sweep()["warned"] == 0, "it waited for a person for a part of it"
    _began(goal, seconds_ago=801)
    assert services.sweep()["warned"] == 1
    assert told(goal) == [("seconds", "801 of 1,000 seconds")]


def test_a_raise_is_followed_by_another_warning_of_that_limit_only(ada: User) -> None:
    goal = at_work(ada)
    Budget.objects.filter(pk=goal.pk).update(**USED["calls"], **USED["usd"])
    services.sweep()
    services.pause_goal(goal.pk, cap="usd", reason="no room")
    services.resume_goal(goal.pk, limits={"usd": "4"})
    services.sweep()
    assert Budget.objects.get(pk=goal.pk).warned == ["calls"]
    Budget.objects.filter(pk=goal.pk).update(spent_micro_usd=3_300_000)
    services.sweep()
    assert told(goal) == [
        ("calls", "8 of 10 model calls"),
        ("usd", "1.60 USD of 2.00 USD"),
        ("usd", "3.30 USD of 4.00 USD"),
    ]


@pytest.mark.parametrize("status", ["paused", "cancelling", "succeeded", "awaiting_approval"])
def test_goals_that_spend_nothing_are_left_alone(ada: User, status: str) -> None:
    goal = at_work(ada)
    ended = timezone.now() if status == "succeeded" else None
    Goal.objects.filter(pk=goal.pk).update(status=status, ended_at=ended)
    Budget.objects.filter(pk=goal.pk).update(**USED["calls"])
    assert list(goals_near_a_limit(9)) == []


def test_the_housekeeper_looks_with_one_query_however_many_goals_there_are(ada: User) -> None:
    for _ in range(4):
        Budget.objects.filter(pk=at_work(ada).pk).update(**USED["calls"])
    with CaptureQueriesContext(connection) as asked:
        assert len(list(goals_near_a_limit(3))) == 3
    assert len(asked) == 1


def test_the_page_the_story_and_the_shell_say_it_while_the_goal_is_open(
    ada: User, capsys: pytest.CaptureFixture[str]
) -> None:
    goal, page = at_work(ada), logged_in(ada)
    assert "Close to a limit" not in page.get(f"/goals/{goal.pk}/").content.decode()
    Budget.objects.filter(pk=goal.pk).update(**USED["usd"])
    services.sweep()
    Budget.objects.filter(pk=goal.pk).update(spent_micro_usd=1_700_000)
    text = page.get(f"/goals/{goal.pk}/").content.decode()
    assert "Close to a limit" in text
    assert "1.70 USD of 2.00 USD" in text
    assert "Four fifths of a limit are used: 1.60 USD of 2.00 USD" in text
    call_command("goal", "show", str(goal.pk))
    shown = capsys.readouterr().out
    assert "four fifths are used: 1.70 USD of 2.00 USD; the goal pauses at the limit" in shown
    assert "four fifths of a limit are used: 1.60 USD of 2.00 USD" in shown
    Goal.objects.filter(pk=goal.pk).update(status="succeeded", ended_at=timezone.now())
    assert "Close to a limit" not in page.get(f"/goals/{goal.pk}/").content.decode()

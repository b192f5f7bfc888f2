"""Whose run is claimed next: the goal's priority, then teams in turns, then age; what waits long enough comes, too."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from orchestration import services
from orchestration.errors import BadInput, IllegalMove
from orchestration.fairness import urgency
from orchestration.models import Event, Goal, Run
from orchestration.runtime import Worker
from orchestration.services.claiming import _urgency
from orchestration.states import Queue
from orchestration.turns import MOST_TEAMS, Served

pytestmark = pytest.mark.django_db(transaction=True)


def claimed(worker: Worker, most: int = 100) -> list[str]:
    """The texts of the goals whose runs a worker takes, in its order."""
    found: list[str] = []
    while len(found) < most and (run := worker._pull(Queue.values)) is not None:
        found.append(run.goal.text)
    return found


@pytest.fixture
def worker() -> Any:
    made = Worker(Queue.values, 4)
    yield made
    made._own.shutdown(wait=True)


def test_a_team_that_floods_does_not_starve_another(worker: Worker) -> None:
    flood, small = (services.create_team(name, by="t") for name in ("flood", "small"))
    for n in range(40):
        services.submit_goal(f"flood {n}", team=flood)
    for n in range(3):
        services.submit_goal(f"small {n}", team=small)
    assert claimed(worker, 7) == ["flood 0", "small 0", "flood 1", "small 1", "flood 2", "small 2", "flood 3"]


def test_three_teams_take_turns_whatever_the_order_of_their_goals(worker: Worker) -> None:
    teams = [services.create_team(name, by="t") for name in ("a", "b", "c")]
    for team in teams:
        for n in range(2):
            services.submit_goal(f"{team.name}{n}", team=team)
    assert claimed(worker) == ["a0", "b0", "c0", "a1", "b1", "c1"]


def test_a_message_is_only_a_wake_up_so_turns_hold_there_too(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis delivers in the order of sending: forty messages of one team, then one of another."""
    flood, small = (services.create_team(name, by="t") for name in ("flood", "small"))
    flooding = [services.submit_goal(f"flood {n}", team=flood) for n in range(5)]
    services.submit_goal("small", team=small)
    begun: list[str] = []
    monkeypatch.setattr(worker, "_go_on", lambda run: begun.append(run.goal.text) if run else None)
    for goal in flooding[:2]:
        worker.work(str(goal.runs.get().pk), Queue.PLANNING)
    assert begun == ["flood 0", "small"]


def test_a_higher_priority_comes_first_and_within_it_teams_take_turns(worker: Worker) -> None:
    one, two = (services.create_team(name, by="t") for name in ("one", "two"))
    for text, team, priority in (
        ("low", one, 0),
        ("normal", one, 5),
        ("high 1", one, 9),
        ("high 2", one, 9),
        ("high of two", two, 9),
    ):
        services.submit_goal(text, team=team, priority=priority)
    assert claimed(worker) == ["high 1", "high of two", "high 2", "normal", "low"]


def test_what_waits_rises_so_that_priority_0_is_not_starved(worker: Worker, settings: Any) -> None:
    settings.PRIORITY_RISES_SECONDS = 300
    low = services.submit_goal("low", priority=0)
    Run.objects.filter(goal=low).update(queued_at=F("queued_at") - timedelta(seconds=300 * 10 + 1))
    services.submit_goal("highest, just now", priority=10)
    assert claimed(worker) == ["low", "highest, just now"], "equally urgent by now, and older"


@pytest.mark.parametrize("waited", [0, 299, 301, 1000, 2999, 10_000])
def test_the_database_reckons_urgency_as_the_pure_function_does(waited: int, settings: Any) -> None:
    settings.PRIORITY_RISES_SECONDS = 300
    goal = services.submit_goal("x", priority=3)
    Run.objects.filter(goal=goal).update(queued_at=timezone.now() - timedelta(seconds=waited))
    assert Run.objects.annotate(urgency=_urgency()).get().urgency == urgency(3, waited, 300)


def test_turns_cost_no_statement(worker: Worker) -> None:
    for name in ("a", "b"):
        team = services.create_team(name, by="t")
        for n in range(3):
            services.submit_goal(f"{name}{n}", team=team)
    counts = []
    for _ in range(4):
        with CaptureQueriesContext(connection) as seen:
            assert worker._pull(Queue.values) is not None
        counts.append(len(seen.captured_queries))
    assert len(set(counts)) == 1, "the first claim knows of no team that was served"


def test_of_many_teams_the_latest_are_remembered() -> None:
    served = Served()
    for team in [*range(MOST_TEAMS + 2), 5]:
        served.note(team)
    assert served.teams == [2, 3, 4, 6, 7, 8, 9, 5]


def test_a_live_goal_gets_another_priority_and_its_story_says_who_and_why() -> None:
    first, second = services.submit_goal("first"), services.submit_goal("second")
    services.set_priority(second.pk, 8, by="ada", reason="a customer waits")
    run = services.pull(Queue.values, "w")
    assert run is not None
    assert run.goal_id == second.pk
    told = Event.objects.get(goal=second, kind="goal.priority")
    assert (told.old, told.new, told.by, told.reason) == ("5", "8", "ada", "a customer waits")
    services.set_priority(second.pk, 8, by="ada")
    assert Event.objects.filter(kind="goal.priority").count() == 1, "the same once more is no change"
    with pytest.raises(BadInput, match="from 0 to 10"):
        services.set_priority(first.pk, 11)
    services.cancel_goal(first.pk)
    with pytest.raises(IllegalMove, match="nothing of it waits"):
        services.set_priority(first.pk, 1)


def test_a_retry_and_a_schedule_keep_the_priority() -> None:
    goal = services.submit_goal("x", priority=9)
    services.cancel_goal(goal.pk)
    assert services.retry_goal(Goal.objects.get(pk=goal.pk).pk).priority == 9
    schedule = services.add_schedule(name="nightly", cron="0 3 * * *", text="y", priority=2)
    assert services.run_now(schedule.pk, by="t").priority == 2

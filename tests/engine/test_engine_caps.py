"""Caps of running goals: what does not fit waits in line and says why, and goes on when there is room, under any race."""

from __future__ import annotations

import io
import json
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F
from django.utils import timezone

from agents.contracts import PlanDraft, StepDraft
from orchestration import services, story
from orchestration.errors import BadInput
from orchestration.models import Approval, Event, Goal, Run, Team, TeamEvent
from orchestration.selectors.goal_page import why_of
from orchestration.selectors.line import in_line, running_in
from orchestration.services import Base
from orchestration.states import Queue
from tests.support.audit import all_holds
from tests.support.people import team as our_team

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def team() -> Team:
    return our_team()


def again(goal: Goal) -> Goal:
    return Goal.objects.get(pk=goal.pk)


def waits(goal: Goal) -> bool:
    return again(goal).in_line_since is not None


def test_what_does_not_fit_waits_in_line_and_says_its_place_and_why(team: Team) -> None:
    services.set_caps(team, {"team": 2}, by="t")
    goals = [services.submit_goal(f"goal {n}", team=team) for n in range(4)]
    assert [waits(goal) for goal in goals] == [False, False, True, True]
    assert [goal.runs.count() for goal in goals] == [1, 1, 0, 0], "nothing of those is begun"
    found = in_line(again(goals[3]))
    assert found is not None
    assert (found.place, found.length, found.cap) == (2, 2, "team")
    words = f"place 2 of 2: the team {team} has 2 goals running, which is its cap."
    assert why_of(again(goals[3])) == f"It waits in line, {words}"
    assert story.story(again(goals[3]))["in_line"]["place"] == 2
    assert services.pull(Queue.values, "w") is not None
    assert services.pull(Queue.values, "w") is not None
    assert services.pull(Queue.values, "w") is None
    services.sweep()
    assert [waits(goal) for goal in goals] == [False, False, True, True]
    all_holds()


def test_when_one_ends_the_next_goes_on_within_a_sweep(team: Team) -> None:
    services.set_caps(team, {"team": 1}, by="t")
    first, second, urgent = (services.submit_goal(t, team=team, priority=p) for t, p in (("a", 5), ("b", 5), ("c", 9)))
    services.cancel_goal(first.pk)
    assert services.sweep()["admitted"] == 1
    assert [waits(goal) for goal in (second, urgent)] == [True, False], "by priority"
    assert urgent.runs.get().status == "queued"


def test_a_raised_cap_lets_go_on_at_once(team: Team) -> None:
    services.set_caps(team, {"team": 1}, by="t")
    goals = [services.submit_goal(f"goal {n}", team=team) for n in range(5)]
    services.set_caps(team, {"team": 3}, by="ada")
    assert [waits(goal) for goal in goals] == [False] * 3 + [True] * 2
    services.set_caps(team, {"team": None}, by="ada")
    assert not any(map(waits, goals))
    assert list(TeamEvent.objects.filter(kind="team.caps").order_by("pk").values_list("old", "new", "by")) == [
        ("- - -", "1 - -", "t"),
        ("1 - -", "3 - -", "ada"),
        ("3 - -", "- - -", "ada"),
    ]
    assert again(goals[4]).runs.count() == 1


def test_the_installations_cap_that_is_gone_goes_on_within_a_sweep(team: Team, settings: Any) -> None:
    settings.RUNNING_CAPS = {"team": 1, "user": 0, "repository": 0}
    services.submit_goal("a", team=team)
    second = services.submit_goal("b", team=team)
    assert waits(second)
    settings.RUNNING_CAPS = {"team": 0, "user": 0, "repository": 0}
    services.sweep()
    assert not waits(second)


def test_caps_of_a_user_and_of_a_repository_hold_up_nobody_else(team: Team, django_user_model: Any) -> None:
    services.set_caps(team, {"user": 1}, by="t")
    ada, bob = (django_user_model.objects.create_user(name) for name in ("ada", "bob"))
    for user in (ada, bob):
        services.add_member(team, user, "operator", by="t")
    one, two, three = (services.submit_goal("x", team=team, by=user) for user in (ada, ada, bob))
    assert [waits(goal) for goal in (one, two, three)] == [False, True, False]
    assert "1 goal of ada runs in the team" in why_of(again(two))


def test_another_team_does_not_care() -> None:
    small, other = (services.create_team(name, by="t") for name in ("small", "other"))
    services.set_caps(small, {"team": 1}, by="t")
    assert [waits(services.submit_goal("x", team=small)) for _ in range(2)] == [False, True]
    assert [waits(services.submit_goal("x", team=other)) for _ in range(2)] == [False, False]


def test_what_is_paused_takes_no_room_and_lines_up_again(team: Team) -> None:
    services.set_caps(team, {"team": 1}, by="t")
    first, second = (services.submit_goal(text, team=team) for text in "ab")
    assert services.pull(Queue.values, "w") is not None
    services.pause_goal(first.pk, reason="x", by="ada")
    services.sweep()
    assert not waits(second)
    deadline = again(first).deadline_at
    services.resume_goal(first.pk)
    assert waits(first)
    Goal.objects.filter(pk=first.pk).update(in_line_since=F("in_line_since") - timedelta(seconds=100))
    services.cancel_goal(second.pk)
    services.sweep()
    assert not waits(first)
    now = again(first)
    assert deadline is not None
    assert now.deadline_at is not None
    assert timedelta(seconds=99) < now.deadline_at - deadline < timedelta(seconds=110), "its hours are for work"
    assert Event.objects.get(goal=first, kind="goal.admitted").data["waited_seconds"] >= 100


def test_a_goal_whose_plan_waits_for_a_person_takes_no_room(team: Team) -> None:
    services.set_caps(team, {"team": 1}, by="t")
    first = services.submit_goal("a", team=team, approval={"policy": "always"})
    plan = services.pull(Queue.values, "w")
    assert plan is not None
    services.record_base(plan, Base("0" * 40, None, []))
    services.record_plan(plan, PlanDraft(steps=[StepDraft(index=0, description="do it")]))
    assert again(first).status == "awaiting_approval"
    second = services.submit_goal("b", team=team)
    assert not waits(second)
    approval = Approval.objects.get(goal=first)
    services.approve_plan(approval.pk, approval.plan_sha256, by="ada")
    assert waits(first)
    assert not Run.objects.filter(goal=first, status="queued").exists()
    assert "waits in line, place 1 of 1" in why_of(again(first))
    services.cancel_goal(second.pk)
    services.sweep()
    assert Run.objects.filter(goal=first, status="queued", kind="step").count() == 1


def test_who_waits_in_line_can_be_cancelled_and_paused(team: Team) -> None:
    services.set_caps(team, {"team": 1}, by="t")
    _, second, third = (services.submit_goal(text, team=team) for text in "abc")
    services.cancel_goal(second.pk)
    assert again(second).status == "cancelled"
    services.pause_goal(third.pk, reason="x", by="ada")
    assert in_line(again(third)) is None
    services.resume_goal(third.pk)
    found = in_line(again(third))
    assert found is not None
    assert found.place == 1


def test_a_cap_holds_under_a_race(team: Team) -> None:
    """Submissions, ends and sweeps at once, on threads of their own."""
    services.set_caps(team, {"team": 3}, by="t")
    begin, most = threading.Barrier(6), []

    def submit() -> None:
        begin.wait(30)
        for _ in range(4):
            goal = services.submit_goal("x", team=team)
            most.append(len(running_in(team.pk)))
            if len(most) % 3 == 0:
                services.cancel_goal(goal.pk)
            services.admit_waiting(team.pk)
            most.append(len(running_in(team.pk)))
        connection.close()

    threads = [threading.Thread(target=submit) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(most) == 48
    assert max(most) == 3
    services.sweep()
    assert len(running_in(team.pk)) == 3
    for goal in Goal.objects.filter(in_line_since__isnull=True).exclude(status="cancelled"):
        services.cancel_goal(goal.pk)
    services.sweep()
    assert len(running_in(team.pk)) == 3


def test_waiting_for_room_is_no_neglect(team: Team) -> None:
    services.set_caps(team, {"team": 1}, by="t")
    for text in "ab":
        services.submit_goal(text, team=team)
    long_ago = timezone.now() - timedelta(hours=3)
    Event.objects.update(at=long_ago)
    Goal.objects.update(created_at=long_ago)
    assert Goal.objects.filter(in_line_since__isnull=False).count() == 1
    all_holds()


# ---- the command


def caps(*words: str) -> str:
    out = io.StringIO()
    call_command("caps", *words, stdout=out)
    return out.getvalue()


def test_the_command_shows_and_sets(team: Team) -> None:
    assert "any number at once" in caps()
    services.submit_goal("x", team=team)
    told = caps("set", "--team", team.name, "--running", "1", "--per-repository", "2")
    assert "1 at once, any number a user, 2 a repository; 1 run, 0 wait in line" in told
    services.submit_goal("y", team=team.name)
    row = json.loads(caps("list", "--json"))[0]
    assert (row["caps"], row["running"], row["in_line"]) == ({"team": 1, "user": 0, "repository": 2}, 1, 1)
    caps("set", "--team", team.name, "--running", "default", "--per-repository", "none")
    assert Team.objects.get(pk=team.pk).caps == {"repository": 0}
    for wrong in ("-1", "many", "1.5"):
        with pytest.raises(CommandError, match="none or default"):
            caps("set", "--team", team.name, f"--running={wrong}")


def test_what_is_no_cap_is_refused(team: Team) -> None:
    for wanted in ({"team": -1}, {"hours": 1}, {"team": True}):
        with pytest.raises(BadInput, match="a cap"):
            services.set_caps(team, wanted, by="t")

"""The forecast: from finished goals that are like this one, told before the plan is approved, kept with how it came out."""

from __future__ import annotations

import io
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from agents.contracts import PlanDraft, StepDraft, StepOutcome, Verdict
from orchestration import services, story
from orchestration.models import Approval, Budget, Goal, Repository, Team
from orchestration.selectors.forecasts import forecast_of, most_usd, record_in_words, track_record
from orchestration.services import Base, Judged, Merged
from orchestration.states import Queue
from tests.support.people import team as our_team

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def team() -> Team:
    return our_team()


@pytest.fixture
def shop(team: Team, tmp_path: Any) -> Repository:
    return Repository.objects.create(team=team, path=str(tmp_path))


def ended(team: Team, n: int, *, micro: int | None = 1000, status: str = "succeeded", **more: Any) -> None:
    """`n` finished goals: 1, 2, 3 … times so many micro-USD, ten tokens, one second."""
    for k in range(1, n + 1):
        at = timezone.now()
        goal = Goal.objects.create(
            team=team, text="x", status=status, started_at=at - timedelta(seconds=k), ended_at=at, **more
        )
        money = {"unpriced_calls": 1} if micro is None else {"spent_micro_usd": micro * k}
        caps = {"max_calls": 9, "max_tokens": 9999, "max_commands": 9, "max_seconds": 100}
        Budget.objects.create(goal=goal, calls=1, spent_tokens=10 * k, **caps, **money)


def planned(text: str = "x", **wish: Any) -> Goal:
    goal = services.submit_goal(text, **wish)
    run = services.pull(Queue.values, "w")
    assert run is not None
    assert run.goal_id == goal.pk
    services.record_base(run, Base("0" * 40, None, []))
    services.record_plan(run, PlanDraft(steps=[StepDraft(index=0, description="do it")]))
    return Goal.objects.get(pk=goal.pk)


def finished(goal: Goal, *, micro: int) -> Goal:
    step = services.pull(Queue.values, "w")
    assert step is not None
    services.record_step(step, StepOutcome(success=True), Merged(step.base_commit, "1" * 40, None), [], {})
    Budget.objects.filter(goal=goal).update(spent_micro_usd=micro, spent_tokens=55, calls=3)
    review = services.pull(Queue.values, "w")
    assert review is not None
    verdict = Verdict(action="complete", reasoning="well done", confidence=1)
    services.record_review(review, Judged(verdict, "1" * 40, [], False))
    return Goal.objects.get(pk=goal.pk)


def test_too_few_is_said_with_how_many(team: Team) -> None:
    ended(team, 2)
    goal = planned(team=team)
    assert (goal.forecast["n"], goal.forecast["tokens"]) == (2, None)
    assert story.story(goal)["forecast"]["said"] == "too few finished goals: n=2 (5 are needed)"


def test_from_goals_of_the_repository_before_those_of_the_team(team: Team, shop: Repository) -> None:
    ended(team, 5, repository=shop)
    ended(team, 9, micro=77)
    assert (forecast_of(services.submit_goal("x", team=team, repo=shop)).of) == "repository"
    found = forecast_of(services.submit_goal("x", team=team))
    assert (found.of, found.n) == ("team", 14)


def test_from_goals_of_the_schedule_first(team: Team) -> None:
    schedule = services.add_schedule(name="nightly", cron="0 3 * * *", text="y", team=team)
    ended(team, 9)
    for goal in Goal.objects.filter(status="succeeded")[:5]:
        schedule.occurrences.create(due_at=goal.created_at, outcome="submitted", goal=goal)
    found = forecast_of(services.run_now(schedule.pk, by="t"))
    assert (found.of, found.n) == ("schedule", 5)


def test_another_team_is_no_source(team: Team) -> None:
    ended(services.create_team("other", by="t"), 9)
    assert forecast_of(services.submit_goal("x", team=team)).n == 0


def test_goals_that_ended_otherwise_or_had_other_rollouts_are_no_source(team: Team) -> None:
    ended(team, 5, status="cancelled")
    ended(team, 5, rollouts_wanted=3)
    ended(team, 5, status="failed")
    assert forecast_of(services.submit_goal("x", team=team)).n == 5, "what failed has cost, too"


def test_what_it_waited_for_people_is_no_time(team: Team) -> None:
    ended(team, 5)
    started = timezone.now() - timedelta(seconds=1000)

    def deadline(goal: Goal) -> datetime:
        return started + timedelta(seconds=100 + 970)

    for goal in Goal.objects.all():
        Goal.objects.filter(pk=goal.pk).update(
            started_at=started, ended_at=started + timedelta(seconds=1000), deadline_at=deadline(goal)
        )
    found = forecast_of(services.submit_goal("x", team=team)).seconds
    assert found is not None
    assert found.p50 == 30


def test_the_policy_above_a_forecast_asks_by_p90(team: Team) -> None:
    ended(team, 10, micro=1_000_000)  # P50 5 USD, P90 9 USD
    asked = planned(team=team, approval={"above_usd": "8"})
    approval = Approval.objects.get(goal=asked)
    assert approval.asks == ["the forecast is 9 USD, above 8 USD"]
    services.cancel_goal(asked.pk)
    assert planned(team=team, approval={"above_usd": "9"}).status == "running", "not above it"


def test_the_policy_asks_where_the_price_is_unknown(team: Team) -> None:
    ended(team, 10, micro=None)
    goal = planned(team=team, approval={"above_usd": "8"})
    assert Approval.objects.get(goal=goal).asks == ["what it will cost is not known, and the policy asks above 8 USD"]
    assert "tokens, at an unknown price" in story.story(goal)["forecast"]["said"]


def test_it_is_told_before_approval_and_kept_with_how_it_came_out(team: Team) -> None:
    ended(team, 10, micro=1_000_000)
    goal = planned(team=team, approval={"policy": "always"})
    out = io.StringIO()
    call_command("goal", "show", str(goal.pk), stdout=out)
    assert "forecast: P50 5.00 USD, P90 9.00 USD; P50 5 s, P90 9 s (from 10 finished goals of the same team)" in (
        out.getvalue()
    )
    approval = Approval.objects.get(goal=goal)
    services.approve_plan(approval.pk, approval.plan_sha256, by="ada")
    ended(team, 10, micro=99_000_000)
    done = finished(goal, micro=4_000_000)
    assert done.status == "succeeded"
    assert done.forecast["n"] == 10, "as it was when it was made"
    assert done.forecast["error"]["micro_usd"] == {"actual": 4_000_000, "ratio": 0.8, "within_p90": True}
    assert done.forecast["error"]["tokens"] == {"actual": 55, "ratio": 1.1, "within_p90": True}
    call_command("goal", "show", str(goal.pk), stdout=out)
    assert "it came to cost 0.8 times P50, within P90; tokens 1.1 times P50, within P90; time" in out.getvalue()
    record = track_record(team.pk)["micro_usd"]
    assert (record.n, record.within_p90, record.ratio) == (1, 1, 0.8)
    assert "of earlier forecasts within P90: cost 1 of 1" in record_in_words(track_record(team.pk))


def test_a_replan_is_forecast_by_what_was_spent_if_that_is_more(team: Team) -> None:
    ended(team, 10, micro=1_000_000)
    goal = planned(team=team, approval={"above_usd": "50"})
    Budget.objects.filter(goal=goal).update(spent_micro_usd=60_000_000)
    assert most_usd(goal, goal.rollouts.get().plans.get()) == 60

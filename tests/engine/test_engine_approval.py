"""A plan that a person must look at: nobody works meanwhile, the first decision stands, and it is bound to the plan's hash."""

from __future__ import annotations

import io
import threading
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from orchestration import services
from orchestration.errors import BadInput, IllegalMove, NotAllowed, StaleApproval
from orchestration.models import Approval, Event, Goal, Plan, Run, Step
from orchestration.services import approving
from orchestration.states import RunKind
from tests.support.engine import Engine
from tests.support.installation import story, until
from tests.support.models import Request, brief_in, role, say, step, verdict, writes_a_file
from tests.support.people import member, team

pytestmark = pytest.mark.long

ALWAYS = {"policy": "always"}


def waiting(engine: Engine, text: str = "one\ntwo", answerer: Any = writes_a_file, **more: Any) -> Goal:
    """A goal whose plan is made, and waits."""
    engine.serve(answerer)
    goal = engine.goal(text, approval=ALWAYS | more.pop("approval", {}), **more)
    return engine.work(goal, until=lambda: Goal.objects.get(pk=goal.pk).status == "awaiting_approval")


def asks(goal: Goal) -> bool:
    return Approval.objects.filter(goal=goal, status="waiting").exists()


def asked(goal: Goal) -> Approval:
    return Approval.objects.get(goal=goal, status="waiting")


def test_no_run_is_queued_until_a_person_approves_then_it_is_worked(engine: Engine) -> None:
    goal = waiting(engine)
    approval = asked(goal)
    assert (approval.asks, approval.plan_sha256) == (["the policy asks about every plan"], Plan.objects.get().sha256)
    assert until(lambda: not engine.worker.active.busy, 20)
    services.sweep()
    assert not Run.objects.filter(goal=goal).exclude(kind="plan").exists()
    assert engine.worker.claim_idle() == 0
    decided = services.approve_plan(approval.pk, approval.plan_sha256[:8], by="grace", reason="looks right")
    assert decided.first
    goal = engine.work(goal)
    assert (goal.status, Run.objects.filter(goal=goal, kind="plan").count()) == ("succeeded", 1), story(goal)
    told = Event.objects.get(goal=goal, kind="approval.status")
    assert (told.new, told.by, told.reason) == ("approved", "grace", "looks right")


def test_a_rejection_is_planned_again_with_its_reason_in_the_brief_and_asked_again(engine: Engine) -> None:
    briefs: list[dict[str, Any]] = []

    def answer(request: Request) -> Any:
        if role(request) == "planner":
            briefs.append(brief_in(request["messages"]))
        return writes_a_file(request)

    goal = waiting(engine, answerer=answer)
    first = asked(goal)
    with pytest.raises(BadInput, match="why it is rejected"):
        services.reject_plan(first.pk, first.plan_sha256, by="grace", reason=" ")
    services.reject_plan(first.pk, first.plan_sha256, by="grace", reason="do not touch two")
    goal = engine.work(goal, until=partial(asks, goal))
    assert briefs[-1]["feedback"] == "grace rejected the plan: do not touch two"
    assert goal.rollouts.get().replans == 1
    second = asked(goal)
    assert second.plan.revision == 2
    services.approve_plan(second.pk, second.plan_sha256, by="grace")
    assert engine.work(goal).status == "succeeded"


def test_after_so_many_rejections_the_goal_ends_with_the_last_reason(engine: Engine) -> None:
    goal = waiting(engine)
    for n in range(4):
        approval = asked(goal)
        services.reject_plan(approval.pk, approval.plan_sha256, by="grace", reason=f"no {n}")
        goal = engine.work(goal, until=partial(asks, goal))
    assert (goal.status, "no 3" in goal.reason) == ("failed", True)


def test_a_stale_decision_is_refused_and_an_edit_makes_the_old_hash_stale(engine: Engine) -> None:
    goal = waiting(engine)
    first = asked(goal)
    for wrong in ("", "0" * 64, first.plan_sha256[:7]):
        with pytest.raises(StaleApproval):
            services.approve_plan(first.pk, wrong, by="grace")
    draft = {"steps": [step(0, "one"), step(7, "seven", dependencies=[0])]}
    second = services.edit_plan(first.pk, first.plan_sha256, draft, by="grace", reason="two is not needed")
    with pytest.raises(StaleApproval, match="edited by grace"):
        services.approve_plan(first.pk, first.plan_sha256, by="ada")
    with pytest.raises(StaleApproval):
        services.approve_plan(second.pk, first.plan_sha256, by="ada")
    services.approve_plan(second.pk, second.plan_sha256, by="ada")
    goal = engine.work(goal)
    assert goal.status == "succeeded", story(goal)
    assert [(s.index, s.status) for s in Step.objects.filter(plan__revision=2)] == [(0, "succeeded"), (7, "succeeded")]
    assert Plan.objects.get(revision=2).origin == "person"


@pytest.mark.parametrize(
    ("draft", "words"),
    [
        ({"steps": []}, "steps"),
        ({"steps": [step(0, "a", dependencies=[3])]}, "unknown steps"),
        ({"steps": [step(0, "a", dependencies=[1]), step(1, "b", dependencies=[0])]}, "cycle"),
        ({"steps": [step(0, "a", mine=1)]}, "mine"),
        ({"steps": [step(0, "one"), step(1, "two")]}, "nothing was edited"),
    ],
)
def test_an_edited_plan_is_held_to_the_planners_contract(engine: Engine, draft: Any, words: str) -> None:
    goal = waiting(engine)
    with pytest.raises(BadInput, match=words):
        services.edit_plan(asked(goal).pk, asked(goal).plan_sha256, draft, by="grace")
    assert (Plan.objects.count(), asked(goal).plan.revision) == (1, 1)


def test_a_second_decision_is_answered_with_the_first(engine: Engine) -> None:
    goal = waiting(engine)
    approval = asked(goal)
    services.approve_plan(approval.pk, approval.plan_sha256, by="grace")
    again = services.reject_plan(approval.pk, approval.plan_sha256, by="ada", reason="no")
    assert (again.first, again.approval.status, again.approval.by) == (False, "approved", "grace")
    assert "was approved by grace" in again.said


def test_of_eight_at_once_one_decides_and_all_are_told_the_same(engine: Engine) -> None:
    goal = waiting(engine)
    approval, answers, start = asked(goal), [], threading.Barrier(8)

    def decide(n: int) -> None:
        start.wait()
        try:
            act = services.approve_plan if n % 2 else services.reject_plan
            answers.append(act(approval.pk, approval.plan_sha256, by=f"p{n}", reason="because"))
        finally:
            connection.close()

    threads = [threading.Thread(target=decide, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.first for answer in answers].count(True) == 1
    assert len({(answer.approval.status, answer.approval.by) for answer in answers}) == 1
    assert Event.objects.filter(goal=goal, kind="approval.status").count() == 1
    services.cancel_goal(goal.pk)


def test_four_eyes_refuse_the_requester_the_shell_and_a_yes_without_a_reason(engine: Engine) -> None:
    ada = member("ada")
    goal = waiting(engine, by=ada, approval={"four_eyes": True})
    approval = asked(goal)
    for who in ("ada", "shell"):
        with pytest.raises(NotAllowed, match="four eyes"):
            services.approve_plan(approval.pk, approval.plan_sha256, by=who, reason="fine")
    with pytest.raises(BadInput, match="why you approve"):
        services.approve_plan(approval.pk, approval.plan_sha256, by="grace")
    draft = {"steps": [step(0, "one")]}
    edited = services.edit_plan(approval.pk, approval.plan_sha256, draft, by="grace")
    with pytest.raises(NotAllowed, match="grace wanted this plan"):
        services.approve_plan(edited.pk, edited.plan_sha256, by="grace", reason="my own")
    assert services.approve_plan(edited.pk, edited.plan_sha256, by="linus", reason="fine").first


def test_a_teams_four_eyes_hold_for_goals_that_did_not_ask_for_them(engine: Engine) -> None:
    call_command("team", "four-eyes", team().name, "on", stdout=io.StringIO())
    approval = asked(waiting(engine))
    with pytest.raises(NotAllowed, match="four eyes"):
        services.approve_plan(approval.pk, approval.plan_sha256, by="shell", reason="fine")


def late(goal: Goal) -> Approval:
    Approval.objects.filter(goal=goal).update(expires_at=timezone.now() - timedelta(seconds=1))
    return asked(goal)


def test_nobody_decides_in_time_and_the_goal_ends(engine: Engine) -> None:
    goal = waiting(engine)
    approval = late(goal)
    assert services.sweep()["approvals"] == 1
    goal.refresh_from_db()
    assert (goal.status, "nobody approved its plan in time" in goal.reason) == ("failed", True)
    again = services.approve_plan(approval.pk, approval.plan_sha256, by="grace")
    assert (again.first, again.approval.status) == (False, "expired")
    assert services.sweep()["approvals"] == 0


def test_nobody_decides_in_time_and_the_goal_pauses_and_may_still_be_approved(engine: Engine) -> None:
    goal = waiting(engine, approval={"on_expiry": "pause", "hours": 2})
    late(goal)
    services.sweep()
    goal.refresh_from_db()
    approval = asked(goal)
    assert (goal.status, goal.reason) == ("paused", "nobody decided about its plan in time")
    assert approval.expires_at is not None
    assert approval.expires_at > timezone.now() + timedelta(hours=1)
    services.approve_plan(approval.pk, approval.plan_sha256, by="grace")
    assert Goal.objects.get(pk=goal.pk).status == "paused"
    services.resume_goal(goal.pk)
    assert engine.work(goal).status == "succeeded"


def test_what_it_waits_for_a_person_is_not_counted_into_its_hours(engine: Engine) -> None:
    goal = waiting(engine)
    begun = timezone.now() - timedelta(hours=5)
    Goal.objects.filter(pk=goal.pk).update(deadline_at=begun + timedelta(hours=1))
    Approval.objects.filter(goal=goal).update(created_at=begun)
    assert services.sweep()["goals_paused"] == 0
    approval = asked(goal)
    services.approve_plan(approval.pk, approval.plan_sha256, by="grace")
    goal = engine.work(goal)
    assert goal.status == "succeeded", story(goal)


def test_cancelling_withdraws_the_question(engine: Engine) -> None:
    goal = waiting(engine)
    approval = asked(goal)
    services.cancel_goal(goal.pk)
    approval.refresh_from_db()
    assert approval.status == "withdrawn"
    assert engine.work(goal).status == "cancelled", "as soon as the planner's sandbox is gone"
    with pytest.raises(IllegalMove):
        services.approve_plan(approval.pk, approval.plan_sha256, by="grace")


def test_a_replan_that_asks_for_no_more_asks_nobody_and_one_that_does_asks_again(engine: Engine) -> None:
    plans = [["a.txt"], ["a.txt"], ["b.txt"]]
    reviews: list[int] = []

    def answer(request: Request) -> Any:
        if role(request) == "planner":
            made = Run.objects.filter(kind=RunKind.PLAN).count()
            return say({"summary": "s", "steps": [step(0, f"plan {made}", writes=plans[min(made, 3) - 1])]})
        if role(request) == "reviewer":
            reviews.append(1)
            return verdict("replan" if len(reviews) < 3 else "complete", request)
        return writes_a_file(request)

    goal = waiting(engine, answerer=answer)
    first = asked(goal)
    services.approve_plan(first.pk, first.plan_sha256, by="grace")
    goal = engine.work(goal, until=partial(asks, goal))
    again = asked(goal)
    assert (again.plan.revision, again.asks) == (3, ["it may write more: b.txt"])
    services.approve_plan(again.pk, again.plan_sha256, by="grace")
    assert engine.work(goal).status == "succeeded"
    assert Approval.objects.filter(goal=goal).count() == 2


def test_above_a_forecast_that_somebody_plugs_in(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approving, "forecast", lambda goal, plan: Decimal("7.25"))
    goal = waiting(engine, approval={"policy": "never", "above_usd": "5"})
    assert asked(goal).asks == ["the forecast is 7.25 USD, above 5 USD"]
    monkeypatch.setattr(approving, "forecast", lambda goal, plan: Decimal("4"))
    cheap = engine.goal("one", approval={"above_usd": "5"})
    assert engine.work(cheap).status == "succeeded"


def test_a_plan_only_goal_stops_after_its_plan_and_is_run_without_planning_again(engine: Engine) -> None:
    engine.serve(writes_a_file)
    goal = engine.goal("one", plan_only=True)
    goal = engine.work(goal, until=lambda: Goal.objects.get(pk=goal.pk).status == "awaiting_approval")
    assert asked(goal).run_only
    services.run_plan(goal.pk, by="ada")
    goal = engine.work(goal)
    assert (goal.status, Run.objects.filter(goal=goal, kind="plan").count()) == ("succeeded", 1)


def test_a_plan_that_needs_an_approval_is_not_run_around_it(engine: Engine) -> None:
    goal = waiting(engine, plan_only=True)
    with pytest.raises(IllegalMove, match="needs an approval"):
        services.run_plan(goal.pk, by="ada")
    other = engine.goal("one")
    with pytest.raises(IllegalMove, match="plan-only"):
        services.run_plan(other.pk, by="ada")
    services.cancel_goal(goal.pk)
    services.cancel_goal(other.pk)


def test_of_two_attempts_one_is_approved_and_wins_and_the_other_asks_no_more(engine: Engine) -> None:
    goal = waiting(engine, "one", rollouts=2, checks=["true"])
    assert until(lambda: Approval.objects.filter(goal=goal, status="waiting").count() == 2, 20)
    first = Approval.objects.filter(goal=goal).order_by("rollout__number")[0]
    services.approve_plan(first.pk, first.plan_sha256, by="grace")
    assert Goal.objects.get(pk=goal.pk).status == "running"
    goal = engine.work(goal)
    assert (goal.status, goal.selected_id, goal.verified) == ("succeeded", first.rollout_id, True), story(goal)
    assert sorted(Approval.objects.filter(goal=goal).values_list("status", flat=True)) == ["approved", "withdrawn"]


def test_a_retry_of_what_was_approved_asks_again_only_for_more(engine: Engine) -> None:
    reviews: list[int] = []

    def answer(request: Request) -> Any:
        if role(request) == "reviewer" and not reviews:
            reviews.append(1)
            return verdict("stop", request)
        return writes_a_file(request)

    goal = waiting(engine, answerer=answer)
    approval = asked(goal)
    services.approve_plan(approval.pk, approval.plan_sha256, by="grace")
    assert engine.work(goal).status == "failed"
    again = engine.work(services.retry_goal(goal.pk))
    assert (again.status, again.approvals.count()) == ("succeeded", 0), story(again)


def test_a_plan_that_was_never_approved_is_not_worked_by_a_retry(engine: Engine) -> None:
    """Steps of the approved r1 are finished, r2 asks for more and nobody decides: the retry carries r2, and asks."""

    def answer(request: Request) -> Any:
        if role(request) == "planner":
            made = Run.objects.filter(kind=RunKind.PLAN).count()
            return say({"summary": "s", "steps": [step(0, f"plan {made}", writes=[f"{made}.txt"])]})
        return verdict("replan", request) if role(request) == "reviewer" else writes_a_file(request)

    goal = waiting(engine, answerer=answer)
    first = asked(goal)
    services.approve_plan(first.pk, first.plan_sha256, by="grace")
    goal = engine.work(goal, until=partial(asks, goal))
    late(goal)
    services.sweep()
    again = services.retry_goal(goal.pk)
    assert (again.status, asked(again).asks) == ("awaiting_approval", ["it may write more: 2.txt"])
    services.cancel_goal(again.pk)

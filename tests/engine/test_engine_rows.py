"""What is written in one transaction, and what is not: verdicts while paused, decisions that break, calls that nobody will answer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now

from agents.contracts import PlanDraft, StepOutcome, Verdict
from agents.errors import BudgetExceeded, Fenced
from orchestration import flow, hotpath, services
from orchestration.errors import IllegalMove
from orchestration.hotpath import Position, Spent
from orchestration.models import Budget, Call, Goal, Review, Run
from orchestration.services import Base, Judged, Merged
from orchestration.states import CallKind, RunKind, RunStatus

pytestmark = pytest.mark.django_db(transaction=True)
ONE_STEP = PlanDraft.model_validate({"steps": [{"index": 0, "description": "one"}]})


def claimed(goal: Goal) -> Run:
    """The one run that is queued, as a worker has it."""
    run = services.claim(goal.runs.get(status=RunStatus.QUEUED).pk, "ada")
    assert run is not None
    return run


def planned() -> Goal:
    """A goal whose plan of one step is recorded."""
    goal = services.submit_goal("one")
    run = claimed(goal)
    services.record_base(run, Base("a" * 40, None, []))
    services.record_plan(run, ONE_STEP)
    return goal


def done() -> Goal:
    """A goal whose step is done, so that a review is next."""
    goal = planned()
    run = claimed(goal)
    outcome = StepOutcome(success=True, summary="done")
    services.record_step(run, outcome, Merged(run.base_commit, "b" * 40, None), [], {"success": True})
    return goal


def test_a_verdict_that_comes_while_the_goal_is_paused_is_followed_when_it_goes_on() -> None:
    goal = done()
    run = claimed(goal)
    services.pause_goal(goal.pk, reason="a person wants to look first")
    services.record_review(
        run, Judged(Verdict(action="complete", reasoning="well done", confidence=1), "b" * 40, [], False)
    )
    goal.refresh_from_db()
    assert goal.status == "paused"
    services.resume_goal(goal.pk)
    goal.refresh_from_db()
    assert (goal.status, goal.reason) == ("succeeded", "well done")
    assert Review.objects.count() == 1, "the verdict was not bought twice"
    assert not goal.budget.open


def test_a_goal_that_goes_on_says_no_more_why_it_paused() -> None:
    goal = planned()
    services.pause_goal(goal.pk, cap="calls", reason="3 of 3 model calls are used")
    goal.refresh_from_db()
    assert "3 of 3" in goal.reason
    services.resume_goal(goal.pk, limits={"calls": 500})
    goal.refresh_from_db()
    assert (goal.status, goal.reason, goal.paused_cap, goal.budget.open) == ("running", "", "", True)


def test_a_decision_that_breaks_keeps_the_record_and_tells_of_nothing_that_was_rolled_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    goal = planned()

    def broken(_: object) -> None:
        raise LookupError("a bug in the decision")

    run = claimed(goal)
    with monkeypatch.context() as patched:
        patched.setattr(flow, "decide_goal", broken)
        services.record_failure(run, RunStatus.FAILED, "work", "it did not work")
    goal.refresh_from_db()
    assert "a bug in the decision" in goal.stuck
    assert Run.objects.get(pk=run.pk).status == RunStatus.FAILED, "paid work is never rolled back by a bug"
    assert not goal.runs.filter(status=RunStatus.QUEUED).exists()
    told = [event.data["run"] for event in goal.events.filter(kind="run.queued")]
    assert set(told) <= {str(pk) for pk in goal.runs.values_list("pk", flat=True)}, "each run that was told of exists"
    services.sweep()
    goal.refresh_from_db()
    assert goal.stuck == ""
    assert goal.runs.filter(status=RunStatus.QUEUED, attempt=2).exists()
    assert list(goal.events.values_list("seq", flat=True)) == list(range(1, goal.event_seq + 1))


class TestCallsThatNobodyWillAnswer:
    """What was reserved for them counts as spent, and nothing stays reserved, however the run ended."""

    def begun(self, goal: Goal) -> Run:
        run = claimed(goal)
        hotpath.begin_call(run, Position(1, 0), CallKind.LLM, "hash", {}, tokens=100)
        return run

    def booked(self, goal: Goal) -> tuple[int, int, str]:
        budget = Budget.objects.get(goal=goal)
        return budget.reserved_tokens, budget.spent_tokens, Call.objects.get().status

    def test_of_a_run_over_its_deadline(self) -> None:
        goal = services.submit_goal("one")
        run = self.begun(goal)
        Run.objects.filter(pk=run.pk).update(deadline_at=Now() - timedelta(seconds=1))
        services.sweep()
        assert self.booked(goal) == (0, 100, "unknown")

    def test_of_the_last_worker_that_a_run_lost(self) -> None:
        goal = services.submit_goal("one")
        run = self.begun(goal)
        Run.objects.filter(pk=run.pk).update(losses=4, lease_until=Now() - timedelta(seconds=1))
        services.sweep()
        assert Run.objects.get(pk=run.pk).status == RunStatus.ERRORED
        assert self.booked(goal) == (0, 100, "unknown")

    def test_of_a_worker_that_died_while_its_goal_was_cancelled(self) -> None:
        goal = services.submit_goal("one")
        run = self.begun(goal)
        services.cancel_goal(goal.pk)
        assert self.booked(goal) == (100, 0, "intent"), "its worker may still live"
        Run.objects.filter(pk=run.pk).update(lease_until=Now() - timedelta(seconds=1))
        services.sweep()
        goal.refresh_from_db()
        assert goal.status == "cancelled"
        assert self.booked(goal) == (0, 100, "unknown")

    def test_one_that_is_answered_late_is_not_booked_twice(self) -> None:
        goal = services.submit_goal("one")
        run = self.begun(goal)
        Run.objects.filter(pk=run.pk).update(lease_until=Now() - timedelta(seconds=1))
        services.sweep()
        with pytest.raises(Fenced):
            hotpath.settle_call(run, Call.objects.get().pk, spent=Spent(50, 20), reserved=100)
        hotpath.lose_call(run, Call.objects.get().pk, 100, "broken off")
        assert self.booked(goal) == (0, 100, "unknown")


def test_no_call_is_begun_after_the_hours_of_a_goal() -> None:
    goal = services.submit_goal("one")
    run = claimed(goal)
    Goal.objects.filter(pk=goal.pk).update(deadline_at=Now() - timedelta(seconds=1))
    with pytest.raises(BudgetExceeded, match="7200 seconds") as refused:
        hotpath.begin_call(run, Position(1, 0), CallKind.LLM, "hash", {}, tokens=100)
    assert refused.value.cap == "seconds"
    assert not Call.objects.exists()


def test_a_piece_called_by_hand_is_one_goal_however_often_its_message_comes_and_is_not_retried_as_a_goal() -> None:
    first, second = (services.submit_piece(RunKind.PLAN, "one", task_id="t1") for _ in range(2))
    assert first == second
    services.cancel_goal(first.pk)
    with pytest.raises(IllegalMove, match="call the task again"):
        services.retry_goal(first.pk)


def test_calls_that_are_begun_at_once_pass_no_cap() -> None:
    goal = services.submit_goal("one", limits={"calls": 5, "tokens": 1000})
    run = claimed(goal)

    def begin(turn: int) -> bool:
        try:
            hotpath.begin_call(run, Position(turn, 0), CallKind.LLM, "hash", {}, tokens=300)
        except BudgetExceeded:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(begin, range(1, 17))) == 3, "three times 300 tokens fit, before five calls do"
    budget = Budget.objects.get(goal=goal)
    assert (budget.calls, budget.reserved_tokens, Call.objects.count()) == (3, 900, 3)

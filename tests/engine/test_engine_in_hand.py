"""A goal's rows that a worker has in hand: used as long as they are true, never a moment longer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.db.models.functions import Now

from agents.contracts import PlanDraft, StepDraft, StepOutcome, Verdict
from agents.errors import Fenced
from orchestration import dispatch, services, writing
from orchestration.hotpath import Position, begin_call
from orchestration.models import Budget, Call, Goal, Rollout, Run, Step
from orchestration.selectors import in_hand, picture
from orchestration.services import Base, HeadMoved, Judged, Merged, advancing, recording
from orchestration.states import CallKind, Queue, RunStatus, StepStatus
from orchestration.transitions import locked
from tests.support.audit import all_holds

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def nobody_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_publisher", dispatch.publish_nothing)


@pytest.fixture
def again(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Each time that rows are read under the lock for a record."""
    looks: list[Any] = []

    def look(change: Any, run: Run | None = None) -> Any:
        looks.append(run)
        return advancing.look(change, run)

    monkeypatch.setattr(recording, "look", look)
    return looks


def planned(steps: int = 5) -> Run:
    services.submit_goal("a chain")
    plan = services.pull(Queue.values, "ada")
    assert plan is not None
    services.record_base(plan, Base("0" * 40, None, []))
    drafts = [StepDraft(index=n, description=f"step {n}", dependencies=[n - 1] if n else []) for n in range(steps)]
    services.record_plan(plan, PlanDraft(steps=drafts))
    first = services.pull(Queue.values, "ada")
    assert first is not None
    return first


@pytest.fixture
def step() -> Run:
    """The second step of a chain, by the worker that has recorded the first one."""
    second = record(planned())
    assert second is not None
    return second


def record(run: Run) -> Run | None:
    merged = Merged(run.base_commit, f"{int(run.base_commit) + 1:040}", None)
    return services.record_step(run, StepOutcome(success=True, summary="done"), merged, [], {}, successor="ada")


def test_a_whole_chain_is_recorded_with_one_look(again: list[Any]) -> None:
    run: Run | None = planned()
    worked = []
    while run is not None:
        worked.append(run.step.index if run.step else None)
        run = record(run)
    assert worked == [0, 1, 2, 3, 4]
    assert len(again) == 1, "the first one; then all rows are in hand, to the very end"
    assert list(Step.objects.values_list("status", flat=True)) == [StepStatus.SUCCEEDED] * 5
    assert Rollout.objects.get().head == f"{5:040}"
    assert Run.objects.get(kind="review").status == RunStatus.QUEUED
    goal = Goal.objects.get()
    assert list(goal.events.values_list("seq", flat=True)) == list(range(1, goal.event_seq + 1))
    all_holds()


def test_a_goal_that_was_paused_meanwhile_begins_nothing_more(step: Run, again: list[Any]) -> None:
    services.pause_goal(step.goal_id, reason="a person wants to look first")
    assert record(step) is None
    assert len(again) == 1
    assert Run.objects.get(pk=step.pk).status == RunStatus.SUCCEEDED, "what was done is kept"
    assert not Run.objects.filter(status__in=[RunStatus.QUEUED, RunStatus.RUNNING]).exists()


def test_a_change_without_an_event_is_noticed_too(step: Run, again: list[Any]) -> None:
    with locked(step.goal_id):
        Rollout.objects.update(head="f" * 40)
    with pytest.raises(HeadMoved):
        record(step)
    assert len(again) == 1
    assert Run.objects.get(pk=step.pk).status == RunStatus.RUNNING


def test_a_run_that_was_taken_away_is_refused(step: Run, again: list[Any]) -> None:
    Run.objects.filter(pk=step.pk).update(lease_until=Now() - timedelta(seconds=1))
    services.sweep()
    with pytest.raises(Fenced):
        record(step)
    assert len(again) == 1
    assert Run.objects.get(pk=step.pk).losses == 1


def test_a_row_that_was_changed_without_the_lock_is_not_overwritten(step: Run, again: list[Any]) -> None:
    """Nobody should; but then nothing at all is written on the strength of what is in hand."""
    Step.objects.filter(index=2).update(status=StepStatus.SKIPPED)
    before = Goal.objects.get()
    record(step)
    assert len(again) == 1
    assert Step.objects.get(index=2).status == StepStatus.SKIPPED
    assert Goal.objects.get().version == before.version + 1, "one transaction has written"
    assert list(Step.objects.order_by("index").values_list("status", flat=True))[:2] == [StepStatus.SUCCEEDED] * 2


def test_a_call_that_nobody_will_answer_is_looked_at(step: Run, again: list[Any]) -> None:
    begin_call(step, Position(1, 0), CallKind.LLM, "hash", {}, tokens=100)
    third = record(step)
    assert third is not None
    assert len(again) == 1, "its run ends with a call in flight: the rows in hand say nothing about that"
    assert in_hand(third) is None
    record(third)
    assert Call.objects.get().status == "unknown"
    assert Budget.objects.values_list("reserved_tokens", "spent_tokens").get() == (0, 100)


def test_what_could_not_be_written_is_done_again_from_the_rows(
    step: Run, again: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = writing.all_or_none

    def breaks_off(*args: Any) -> bool:
        monkeypatch.setattr(writing, "all_or_none", written)
        raise OperationalError("the connection was lost")

    monkeypatch.setattr(writing, "all_or_none", breaks_off)
    third = record(step)
    assert third is not None
    assert third.step is not None
    assert (third.step.index, len(again)) == (2, 1)
    assert Run.objects.filter(step__index=2).count() == 1
    all_holds()


def test_a_decision_that_breaks_on_rows_in_hand_keeps_the_record(step: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise LookupError("a bug in the decision")

    with monkeypatch.context() as patched:
        patched.setattr(advancing, "_decide_goal", broken)
        assert record(step) is None
    assert Run.objects.get(pk=step.pk).status == RunStatus.SUCCEEDED
    assert "a bug in the decision" in Goal.objects.get().stuck
    services.sweep()
    assert Goal.objects.get().stuck == ""
    assert Run.objects.filter(step__index=2, status=RunStatus.QUEUED).exists()


# ---- the version


def _lose_its_sandbox(run: Run) -> None:
    services.lose_sandbox(run, "it is gone")


def _expire(run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(lease_until=Now() - timedelta(seconds=1))
    services.sweep()


def _overrun(run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(deadline_at=Now() - timedelta(seconds=1))
    services.sweep()


def _force(run: Run) -> None:
    services.cancel_goal(run.goal_id)
    Goal.objects.update(cancelled_at="2020-01-01T00:00:00Z")
    services.cancel_goal(run.goal_id, force=True)


def _review(run: Run) -> None:
    while (following := record(run)) is not None:
        run = following
    review = services.pull([Queue.REVIEW], "ada")
    assert review is not None
    verdict = Verdict(action="retry_with_changes", steps=[1], reasoning="not yet", suggested_changes="x", confidence=1)
    services.record_review(review, Judged(verdict, services.current_head(review), [], False))


CHANGES: dict[str, Callable[[Run], Any]] = {
    "the base is recorded": lambda run: services.record_base(run, Base("1" * 40, None, [])),
    "a step is recorded": record,
    "a failure": lambda run: services.record_failure(run, RunStatus.FAILED, "work", "no"),
    "an error": lambda run: services.record_failure(run, RunStatus.ERRORED, "permanent", "no key"),
    "a verdict": _review,
    "stand down": lambda run: services.stand_down(run, "the worker stops"),
    "a lost sandbox": _lose_its_sandbox,
    "a lost worker": _expire,
    "a deadline": _overrun,
    "pause": lambda run: services.pause_goal(run.goal_id, reason="x"),
    "pause, and let it finish": lambda run: services.pause_goal(run.goal_id, reason="x", finish_running=True),
    "cancel": lambda run: services.cancel_goal(run.goal_id),
    "cancel by force": _force,
    "another claim": lambda run: services.stand_down(run, "x") or services.claim(run.pk, "bob"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_changes_the_picture_raises_the_version(step: Run, name: str) -> None:
    if name == "the base is recorded":
        Goal.objects.update(base_sha="")
    before, version = _as_it_is(step.goal_id), Goal.objects.get().version
    CHANGES[name](step)
    assert _as_it_is(step.goal_id) != before
    assert Goal.objects.get().version > version


def _as_it_is(goal_id: Any) -> Any:
    """All that decisions see."""
    goal = Goal.objects.get(pk=goal_id)
    seen = picture(goal)
    decided = [goal.status, goal.cancelled_at, goal.finishes_running, goal.base_sha, seen.abandoned]
    hidden = {"_state", "version", "event_seq"}
    return decided, [{k: v for k, v in row.__dict__.items() if k not in hidden} for row in seen.rows]

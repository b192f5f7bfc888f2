"""What one transaction does to a goal is done as a whole: what broke leaves nothing behind, and can be tried again."""

from __future__ import annotations

import pytest
from django.db import OperationalError, connection

from orchestration import dispatch, services
from orchestration.models import Event, Goal, Run
from orchestration.services import advancing
from orchestration.states import Queue, RunStatus
from orchestration.transitions import locked, repeatable
from orchestration.writing import Stale

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(dispatch, "_publisher", dispatch.publish_nothing)
    services.submit_goal("a goal")
    claimed = services.pull(Queue.values, "a worker")
    assert claimed is not None
    return claimed


def test_a_transaction_that_broke_is_repeated_with_the_same_rows(run: Run) -> None:
    before, tries = Event.objects.count(), []

    @repeatable
    def record() -> None:
        with locked(run.goal_id) as change:
            tries.append(change.move(run, RunStatus.FAILED, error="no"))
            if len(tries) == 1:
                raise OperationalError("deadlock detected")

    record()
    assert tries == [True, True]
    assert Run.objects.get(pk=run.pk).status == run.status == RunStatus.FAILED
    assert Event.objects.count() == before + 1


def test_rows_in_hand_are_as_they_were_read_when_a_transaction_is_given_up(run: Run) -> None:
    def give_up() -> None:
        with locked(run.goal_id) as change:
            change.move(run, RunStatus.FAILED, error="no")
            raise ValueError("not like this")

    with pytest.raises(ValueError, match="not like this"):
        give_up()
    assert (run.status, run.error, run.ended_at) == (RunStatus.RUNNING, "", None)


def test_a_decision_that_breaks_keeps_the_record_and_tells_nothing_of_its_own(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half_done(change: advancing.Change, seen: advancing.Picture) -> None:
        change.move(change.goal, "planning")
        raise RuntimeError("a bug in the decision")

    Goal.objects.update(status="queued")
    monkeypatch.setattr(advancing, "_decide_goal", half_done)
    services.record_failure(run, RunStatus.ERRORED, "permanent", "a wrong key\0")
    goal = Goal.objects.get()
    assert Run.objects.get(pk=run.pk).error == "a wrong key\ufffd", "the record is kept"
    assert goal.status == "queued"
    assert "a bug in the decision" in goal.stuck
    told = list(Event.objects.values_list("kind", "new"))
    assert told[-1][0] == "goal.stuck"
    assert told.count(("goal.status", "planning")) == 1, "only the claim's own move"


def test_a_decision_that_breaks_after_it_has_written_keeps_the_record_alone(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half_written(change: advancing.Change, seen: advancing.Picture) -> None:
        change.move(change.goal, "reviewing")
        assert Goal.objects.get().status == "reviewing", "whoever asks the database sees what was collected"
        Goal.objects.update(text="half of it")
        raise RuntimeError("a bug in the decision")

    monkeypatch.setattr(advancing, "_decide_goal", half_written)
    services.record_failure(run, RunStatus.ERRORED, "permanent", "a wrong key")
    goal = Goal.objects.get()
    assert (goal.text, goal.status) == ("a goal", "planning")
    assert "a bug in the decision" in goal.stuck
    assert Run.objects.get(pk=run.pk).error == "a wrong key"
    assert list(goal.events.values_list("seq", flat=True)) == list(range(1, goal.event_seq + 1))


@pytest.mark.parametrize("place", ["_advance_rollout", "_decide_goal"], ids=["before a write", "after a write"])
def test_a_decision_whose_query_fails_keeps_the_record(run: Run, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """PostgreSQL refuses all that comes after a statement that failed, up to the last savepoint."""

    def ask_nonsense(change: advancing.Change, seen: advancing.Picture, rollout: object = None) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT there_is_no_such_function()")

    monkeypatch.setattr(advancing, place, ask_nonsense)
    services.record_failure(run, RunStatus.ERRORED, "permanent", "a wrong key")
    goal = Goal.objects.get()
    assert (Run.objects.get(pk=run.pk).status, Run.objects.get(pk=run.pk).error) == ("errored", "a wrong key")
    assert "there_is_no_such_function" in goal.stuck
    assert list(goal.events.values_list("kind", flat=True))[-1] == "goal.stuck"
    assert list(goal.events.values_list("seq", flat=True)) == list(range(1, goal.event_seq + 1))


def test_a_row_that_was_changed_without_the_lock_is_not_overwritten(run: Run) -> None:
    def overwrite() -> None:
        with locked(run.goal_id) as change:
            seen = advancing.look(change)
            Run.objects.filter(pk=run.pk).update(fence=7)
            change.move(seen.runs[run.rollout_id][0], RunStatus.FAILED)

    with pytest.raises(Stale):
        overwrite()
    assert (Run.objects.get().status, Event.objects.filter(new="failed").count()) == (RunStatus.RUNNING, 0)


def test_a_new_row_may_take_the_place_of_one_that_is_moved_in_the_same_transaction(run: Run) -> None:
    """One live plan run per rollout: the old one is moved first, however much is written together."""
    with locked(run.goal_id) as change:
        seen = advancing.look(change)
        old = seen.runs[run.rollout_id][0]
        change.add(Run(goal=change.goal, rollout_id=run.rollout_id, kind=run.kind, queue=run.queue, attempt=2))
        change.move(old, RunStatus.FAILED)
    assert sorted(Run.objects.values_list("attempt", "status")) == [(1, "failed"), (2, "queued")]

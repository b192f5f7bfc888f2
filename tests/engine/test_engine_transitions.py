"""What one transaction does to a goal is done as a whole: what broke leaves nothing behind, and can be tried again."""

from __future__ import annotations

import pytest
from django.db import OperationalError

from orchestration import dispatch, services
from orchestration.models import Event, Goal, Run
from orchestration.services import advancing
from orchestration.states import Queue, RunStatus
from orchestration.transitions import locked, repeatable

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

"""Fairness: a thread goes on with its goal, and whoever waits has a turn all the same."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection

from agents.contracts import PlanDraft, StepDraft, StepOutcome, Verdict
from orchestration import dispatch, services, turns
from orchestration.active import ActiveRun
from orchestration.equipment import broken_tools
from orchestration.models import Goal, Run
from orchestration.runs import envelope
from orchestration.runtime import Worker
from orchestration.selectors import engine
from orchestration.services import Base, Judged, Merged
from orchestration.states import TERMINAL_GOAL, Queue, RunKind
from orchestration.turns import LOOK_AGAIN, TURN, Waiting, gives_way

STEPS = 25


@pytest.mark.parametrize(
    ("seconds", "all_busy", "others_wait", "expected"),
    [
        (0.0, True, True, False),
        (TURN - 0.01, True, True, False),
        (TURN, True, True, True),
        (60.0, True, True, True),
        (60.0, True, False, False),
        (60.0, False, True, False),
        (60.0, False, False, False),
        (0.0, False, False, False),
    ],
)
def test_a_goal_gives_way_after_its_turn_if_others_wait_for_a_thread(
    seconds: float, all_busy: bool, others_wait: bool, expected: bool
) -> None:
    assert gives_way(seconds, all_busy=all_busy, others_wait=lambda: others_wait) is expected


def test_the_queue_is_asked_only_when_the_answer_matters() -> None:
    def asked() -> bool:
        raise AssertionError("this costs a statement")

    assert not gives_way(TURN / 2, all_busy=True, others_wait=asked)
    assert not gives_way(60, all_busy=False, others_wait=asked)


def test_all_threads_of_a_process_share_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    now = [100.0]
    monkeypatch.setattr(turns.time, "monotonic", lambda: now[0])

    def ask(queues: object) -> set[str]:
        looks.append(queues)
        return {"mine"} if len(looks) == 1 else {"mine", "other"}

    waiting = Waiting(["execution"], ask)
    assert [waiting.others("mine"), waiting.others("other"), waiting.others("mine")] == [False, True, False]
    assert len(looks) == 1
    now[0] += LOOK_AGAIN + 0.01
    assert waiting.others("mine")
    assert looks == [["execution"]] * 2


# ---- a worker of one thread, with work that takes a moment


def plan(tools: object, active: ActiveRun) -> Run | None:
    services.record_base(active.run, Base("0" * 40, None, []))
    steps = [StepDraft(index=n, description=f"step {n}", dependencies=[n - 1] if n else []) for n in range(STEPS)]
    return services.record_plan(active.run, PlanDraft(steps=steps), active.successor)


def execute(tools: object, active: ActiveRun) -> Run | None:
    time.sleep(0.03)
    merged = Merged(active.run.base_commit, f"{int(active.run.base_commit) + 1:040}", None)
    return services.record_step(active.run, StepOutcome(success=True), merged, [], {}, active.successor)


def review(tools: object, active: ActiveRun) -> Run | None:
    verdict = Verdict(action="complete", reasoning="well done", confidence=1)
    return services.record_review(active.run, Judged(verdict, active.run.base_commit, [], False), active.successor)


@pytest.fixture
def worker(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    monkeypatch.setattr(dispatch, "_publisher", dispatch.publish_nothing)
    monkeypatch.setattr(envelope, "PROCEDURES", {RunKind.PLAN: plan, RunKind.STEP: execute, RunKind.REVIEW: review})
    monkeypatch.setattr(engine, "PATIENCE", timedelta(seconds=0.1))
    monkeypatch.setattr(turns, "TURN", 0.2)
    made = Worker(Queue.values, 1)
    made._tools = broken_tools("none", AssertionError("no sandbox is opened here"))  # type: ignore[arg-type]
    yield made
    made._own.shutdown(wait=True)
    connection.close()


def work(worker: Worker) -> None:
    ends = time.monotonic() + 30
    while Goal.objects.exclude(status__in=TERMINAL_GOAL).exists():
        assert time.monotonic() < ends
        worker.claim_idle()
        time.sleep(0.02)


def test_a_goal_that_comes_later_has_its_turn_before_the_first_one_is_done(worker: Worker) -> None:
    """It waits for another queue than the one that the thread is on, with a plan; still it is not starved."""
    first = services.submit_goal("long")
    worker.claim_idle()
    second = services.submit_goal("comes later")
    work(worker)
    begun = Run.objects.get(goal=second, kind=RunKind.PLAN).started_at
    last = Run.objects.get(goal=first, step__index=STEPS - 1).started_at
    assert begun is not None
    assert last is not None
    assert begun < last
    for goal in (first, second):
        assert Run.objects.filter(goal=goal, kind=RunKind.STEP).count() == STEPS, "nothing was done twice"


def test_a_goal_alone_is_gone_on_with_to_the_end_of_its_steps(worker: Worker) -> None:
    services.submit_goal("alone")
    work(worker)
    waits = Run.objects.filter(kind=RunKind.STEP, step__index__gt=0).values_list("queued_at", "started_at")
    assert [begun - queued for queued, begun in waits] == [timedelta(0)] * (STEPS - 1), (
        "each was begun as it was queued"
    )

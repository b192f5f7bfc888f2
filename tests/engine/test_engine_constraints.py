"""What the database itself refuses, whatever a bug might write."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now

from agents.contracts import PlanDraft
from orchestration import services
from orchestration.models import Budget, Call, Event, Goal, Installation, Plan, Review, Rollout, Run, Step
from orchestration.states import RunKind

pytestmark = pytest.mark.django_db(transaction=True)
Wrong = Callable[[Goal, Run], Any]

WRONG: dict[str, Wrong] = {
    "a second live run of a step": lambda g, r: _double(r),
    "a second live plan of a rollout": lambda g, r: [_other(r, kind="plan", step=None) for _ in range(2)],
    "a step run without a step": lambda g, r: _other(r, kind="step", step=None),
    "a running run without a lease": lambda g, r: Run.objects.filter(pk=r.pk).update(status="running"),
    "a second plan of a revision": lambda g, r: Plan.objects.create(rollout=r.rollout, revision=1, sha256="x"),
    "a second step of an index": lambda g, r: Step.objects.create(plan=r.plan, rollout=r.rollout, index=0),
    "a priority above ten": lambda g, r: Step.objects.filter(pk=r.step_id).update(priority=11),
    "a second rollout of a number": lambda g, r: Rollout.objects.create(goal=g, number=1),
    "an event number twice": lambda g, r: Event.objects.create(goal=g, seq=1, kind="goal.status"),
    "more calls than allowed": lambda g, r: Budget.objects.filter(goal=g).update(calls=201),
    "seventeen rollouts": lambda g, r: Goal.objects.filter(pk=g.pk).update(rollouts_wanted=17),
    "a confidence above one": lambda g, r: Review.objects.create(rollout=r.rollout, action="stop", confidence=1.1),
    "an unknown verdict": lambda g, r: Review.objects.create(rollout=r.rollout, action="shrug"),
    "a call recorded twice": lambda g, r: [_call(r) for _ in range(2)],
    "a second installation": lambda g, r: [Installation.objects.create() for _ in range(2)],
    "an unknown status of a goal": lambda g, r: Goal.objects.filter(pk=g.pk).update(status="canceled"),
    "an unknown status of a rollout": lambda g, r: Rollout.objects.filter(goal=g).update(status="paused"),
    "an unknown status of a step": lambda g, r: Step.objects.filter(pk=r.step_id).update(status="running"),
    "an unknown status of a run": lambda g, r: Run.objects.filter(pk=r.pk).update(status="paused"),
}


def _other(run: Run, **columns: Any) -> Run:
    return Run.objects.create(goal=run.goal, rollout=run.rollout, queue="execution", **columns)


def _double(run: Run) -> Run:
    return _other(run, kind="step", step=run.step, status="running", lease_until=Now() + timedelta(seconds=30))


def _call(run: Run) -> Call:
    return Call.objects.create(run=run, turn=1, index=0, kind="llm", fence=1, request_hash="h")


@pytest.fixture
def goal() -> Goal:
    plan = PlanDraft.model_validate({"steps": [{"index": 0, "description": "one"}]})
    return services.submit_piece(RunKind.STEP, "one", task_id="t", plan=plan)


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_it_is_refused(goal: Goal, wrong: Wrong) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        wrong(goal, goal.runs.select_related("plan", "step", "rollout", "goal").get())


def test_a_session_waits_for_nothing_for_ever() -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA journal_mode")
            assert cursor.fetchone() == ("wal",)
            return
        limits = {"lock_timeout": "5s", "idle_in_transaction_session_timeout": "15s", "statement_timeout": "30s"}
        for name, value in limits.items():
            cursor.execute(f"SHOW {name}")
            assert cursor.fetchone() == (value,), name

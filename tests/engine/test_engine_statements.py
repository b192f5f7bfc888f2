"""What a step costs the database, counted in statements and commits: a figure that no machine's load changes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agents.contracts import PlanDraft, StepDraft, StepOutcome
from agents.errors import Fenced
from orchestration import dispatch, services
from orchestration.hotpath import Position, Spent, begin_call, settle_call
from orchestration.models import Event, Run
from orchestration.selectors import in_hand
from orchestration.services import Base, HeadMoved, Merged
from orchestration.states import CallKind, Queue, RunStatus, StepStatus

pytestmark = pytest.mark.django_db(transaction=True)
TOGETHER = connection.vendor == "postgresql"


def counted(seen: CaptureQueriesContext) -> tuple[int, int]:
    """(statements, commits)"""
    said: Sequence[str] = [query["sql"].split()[0] for query in seen.captured_queries]
    return sum(word not in ("BEGIN", "COMMIT") for word in said), said.count("COMMIT")


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> Run:
    """The second step of a chain, claimed; the next one will be queued by its record."""
    monkeypatch.setattr(dispatch, "_publisher", dispatch.publish_nothing)
    services.submit_goal("a chain")
    plan = services.pull(Queue.values, "ada")
    assert plan is not None
    services.record_base(plan, Base("0" * 40, None, []))
    steps = [StepDraft(index=n, description=f"step {n}", dependencies=[n - 1] if n else []) for n in range(4)]
    services.record_plan(plan, PlanDraft(steps=steps))
    first = services.pull(Queue.values, "ada")
    assert first is not None
    second = record(first)
    assert second is not None
    return second


def record(run: Run) -> Run | None:
    merged = Merged(run.base_commit, f"{int(run.base_commit) + 1:040}", None)
    return services.record_step(run, StepOutcome(success=True, summary="done"), merged, [], {}, successor="ada")


def test_a_step_that_is_gone_on_with_takes_one_statement(step: Run) -> None:
    """Who went on with this goal has its rows in hand: record, decide, queue the next, claim it, and commit, all in one."""
    third = record(step)
    assert third is not None
    with CaptureQueriesContext(connection) as seen:
        following = record(third)
    statements, commits = counted(seen)
    told = "\n".join(q["sql"][:200] for q in seen.captured_queries)
    assert (statements, commits) == ((1, 0) if TOGETHER else (8, 1)), told
    assert following is not None
    assert following.step is not None
    with CaptureQueriesContext(connection) as seen:
        said = following.step.description, following.step.writes, following.goal.text, following.rollout.head
        assert following.plan is not None
    assert said == ("step 3", [], "a chain", third.base_commit[:-1] + "3")
    assert seen.captured_queries == [], "and the next run's texts too"


def test_a_step_of_a_goal_that_is_new_to_its_worker_takes_six_statements_and_one_commit(step: Run) -> None:
    """Record, decide, queue the next, claim it, read it: the lock, three to see, one to write, and the next run as it is."""
    assert in_hand(step) is not None
    with CaptureQueriesContext(connection) as seen:
        following = record(step)
    statements, commits = counted(seen)
    assert commits == 1
    assert statements <= (6 if TOGETHER else 13), "\n".join(q["sql"][:200] for q in seen.captured_queries)
    assert following is not None
    assert (following.status, following.fence, following.step.index) == (RunStatus.RUNNING, 1, 2)
    step.refresh_from_db()
    assert step.status == RunStatus.SUCCEEDED
    assert step.step is not None
    assert step.step.status == StepStatus.SUCCEEDED
    assert following.base_commit == step.commit == following.rollout.head
    told = list(Event.objects.order_by("seq").values_list("kind", "new"))[-5:]
    assert told == [
        ("run.status", "succeeded"),
        ("step.status", "succeeded"),
        ("step.status", "queued"),
        ("run.queued", "queued"),
        ("run.status", "running"),
    ]


@pytest.mark.usefixtures("nobody_is_woken")
def test_a_step_whose_head_was_moved_by_another_learns_it_in_two_statements() -> None:
    """Of eight that end at once, 28 tries are in vain, and each of them holds the goal."""
    services.submit_goal("a fan")
    plan = services.pull(Queue.values, "ada")
    assert plan is not None
    services.record_base(plan, Base("0" * 40, None, []))
    steps = [StepDraft(index=n, description=f"step {n}", can_parallelize=True) for n in range(2)]
    services.record_plan(plan, PlanDraft(steps=steps))
    first, second = services.pull(Queue.values, "ada"), services.pull(Queue.values, "bob")
    assert first is not None
    assert second is not None
    record(first)
    with CaptureQueriesContext(connection) as seen, pytest.raises(HeadMoved):
        record(second)
    assert counted(seen)[0] <= (3 if TOGETHER else 4), "\n".join(q["sql"][:200] for q in seen.captured_queries)
    Run.objects.filter(pk=second.pk).update(fence=7)
    with pytest.raises(Fenced):
        record(second)


def test_a_call_takes_two_statements_that_are_transactions_of_their_own(step: Run) -> None:
    with CaptureQueriesContext(connection) as seen:
        call = begin_call(step, Position(1, 0), CallKind.LLM, "hash", {}, 100)
        settle_call(step, call, spent=Spent(10, 5), reserved=100, answer={"content": "yes"})
    statements, commits = counted(seen)
    assert (statements, commits) == ((2, 0) if TOGETHER else (6, 2)), "\n".join(
        q["sql"][:200] for q in seen.captured_queries
    )
    budget = step.goal.budget
    budget.refresh_from_db()
    assert (budget.calls, budget.reserved_tokens, budget.spent_tokens) == (1, 0, 15)

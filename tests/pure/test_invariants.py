"""Each rule of the audit: a history in which it is broken is told, and one in which all is well says nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestration.invariants import (
    INVARIANTS,
    BudgetFacts,
    CallFacts,
    EventFacts,
    GoalFacts,
    History,
    RolloutFacts,
    RunFacts,
    StepFacts,
    violations,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
BASE, ONE, TWO = "b" * 40, "1" * 40, "2" * 40


def call(run: str, turn: int, index: int = 0, **more: Any) -> CallFacts:
    kind = "llm" if index == 0 else "command"
    return CallFacts(
        run, turn, index, kind, "done", **{"fence": 1, "started_at": NOON, "tokens": 10 * (index == 0), **more}
    )


def told(*changes: tuple[str, str, str, str, int]) -> tuple[EventFacts, ...]:
    return tuple(EventFacts(seq, *change) for seq, change in enumerate(changes, 1))


CHANGES = (
    ("run", "r0", "queued", "running", 1),
    ("run", "r0", "running", "queued", 2),  # its worker was lost
    ("run", "r0", "queued", "running", 3),
    ("step", "s0", "queued", "succeeded", 0),
    ("run", "r0", "running", "succeeded", 3),
    ("run", "r1", "queued", "running", 1),
    ("step", "s1", "queued", "succeeded", 0),
    ("run", "r1", "running", "succeeded", 1),
    ("rollout", "x", "running", "succeeded", 0),
    ("goal", "g", "running", "succeeded", 0),
)
WELL = History(
    GoalFacts("succeeded", event_seq=10, base_sha=BASE, selected="x"),
    BudgetFacts(open=False, calls=3, commands=1, reserved=0, spent=10 + 50 + 10),
    (RolloutFacts("x", 1, "succeeded"),),
    (StepFacts("s0", "x", "p", 0, "succeeded", (), ONE), StepFacts("s1", "x", "p", 1, "succeeded", (0,), TWO)),
    (RunFacts("r0", "x", "step", "succeeded", 3, "s0", BASE), RunFacts("r1", "x", "step", "succeeded", 1, "s1", ONE)),
    (
        replace(call("r0", 1), status="unknown", tokens=0, reserved=50),
        call("r0", 1, fence=3),
        call("r0", 1, 1, fence=3),
        call("r1", 1),
    ),
    told(*CHANGES),
)  # fmt: skip


def test_nothing_is_said_where_all_is_well() -> None:
    assert violations(WELL) == []


def without(seq: int) -> History:
    return replace(WELL, events=tuple(event for event in WELL.events if event.seq != seq))


def changed(place: str, n: int, **new: Any) -> History:
    rows = list(getattr(WELL, place))
    rows[n] = replace(rows[n], **new)
    return replace(WELL, **{place: tuple(rows)})


def goal(**new: Any) -> History:
    return replace(WELL, goal=replace(WELL.goal, **new))


def working(**new: Any) -> History:
    """The same goal while it is running and nobody is at it."""
    unended = {"events": WELL.events[:-1], "goal": replace(WELL.goal, **{"status": "running", "event_seq": 9, **new})}
    return replace(WELL, **unended)


BROKEN = {
    "no budget": ("accepted_whole", replace(WELL, budget=None)),
    "no rollout": ("accepted_whole", replace(WELL, rollouts=())),
    "a lost event": ("events_gapless", without(4)),
    "an event too few": ("events_gapless", goal(event_seq=11)),
    "an event twice": ("events_gapless", replace(WELL, events=(WELL.events[0], *WELL.events))),
    "a goal that ended twice": (
        "terminal_final",
        replace(WELL, goal=replace(WELL.goal, event_seq=11), events=told(*CHANGES, ("goal", "g", "succeeded", "failed", 0))),
    ),
    "a status that no event tells": ("terminal_final", goal(status="failed", selected=None)),
    "a run whose row is behind": ("terminal_final", changed("runs", 1, status="running")),
    "a move from where it was not": ("terminal_final", changed("events", 4, old="queued")),
    "a step won twice": ("one_winner", changed("runs", 0, step="s1")),
    "a fence claimed twice": ("fences_increase", changed("events", 2, fence=1)),
    "an end with an old fence": ("fences_increase", changed("events", 4, fence=1)),
    "a run behind its claim": ("fences_increase", changed("runs", 0, fence=2)),
    "a call with an old fence": ("fences_increase", changed("calls", 2, fence=1)),
    "a call ahead of its run": ("fences_increase", changed("calls", 3, fence=2)),
    "a step before its dependency": ("dependencies_in_base", changed("steps", 0, index=2)),
    "a base without the dependency": ("dependencies_in_base", changed("runs", 1, base_commit=BASE)),
    "an answer bought twice": ("paid_once", replace(WELL, calls=(*WELL.calls, WELL.calls[-1]))),
    "more repeats than losses": ("paid_once", replace(WELL, calls=(WELL.calls[0], WELL.calls[0], *WELL.calls))),
    "a call that is not booked": ("books_agree", replace(WELL, budget=replace(WELL.budget, calls=2))),
    "a command that is not booked": ("books_agree", replace(WELL, budget=replace(WELL.budget, commands=0))),
    "tokens that are not booked": ("books_agree", replace(WELL, budget=replace(WELL.budget, spent=20))),
    "a reservation that leaked": ("books_agree", replace(WELL, budget=replace(WELL.budget, reserved=7))),
    "USD that are not booked": ("books_agree", replace(WELL, budget=replace(WELL.budget, micro_spent=1))),
    "USD whose reservation leaked": ("books_agree", replace(WELL, budget=replace(WELL.budget, micro_reserved=1))),
    "more USD than its limit": ("money_kept", replace(WELL, budget=replace(WELL.budget, micro_spent=8, micro_max=7))),
    "more USD than were drawn": (
        "money_kept", replace(WELL, budget=replace(WELL.budget, micro_reserved=9, micro_overrun=1, micro_allotted=7)),
    ),
    "a call after cancel": ("cancel_closes", goal(cancelled_at=NOON - timedelta(seconds=1))),
    "an open rollout": ("ended_whole", changed("rollouts", 0, status="running")),
    "a live run": ("ended_whole", changed("runs", 1, status="running")),
    "an open step": ("ended_whole", changed("steps", 1, status="pending")),
    "a call in flight": ("ended_whole", changed("calls", 3, status="intent")),
    "an open gate": ("ended_whole", replace(WELL, budget=replace(WELL.budget, open=True))),
    "no selected rollout": ("one_selected", goal(selected=None)),
    "the rollout of another goal": ("one_selected", goal(selected="y")),
    "a selected one that failed": ("one_selected", changed("rollouts", 0, status="failed")),
    "a failed goal with a winner": ("one_selected", goal(status="failed")),
    "a goal that nobody works on": ("not_neglected", working(age=timedelta(seconds=121))),
    "a lease that nobody took over": (
        "not_neglected", replace(changed("runs", 1, status="running", overdue=timedelta(minutes=3)), goal=working().goal),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_told(name: str) -> None:
    rule, history = BROKEN[name]
    assert rule in {violation.invariant for violation in violations(history)}


def test_each_rule_has_a_history_that_breaks_it() -> None:
    assert {rule for rule, _ in BROKEN.values()} == set(INVARIANTS)


@pytest.mark.parametrize(
    "history",
    [working(age=timedelta(seconds=60)), working(status="paused", age=timedelta(days=9)), goal(is_retry=True)],
    ids=["a moment ago", "a person's turn", "a retry"],
)
def test_what_is_no_neglect(history: History) -> None:
    assert {"not_neglected", "dependencies_in_base"}.isdisjoint(v.invariant for v in violations(history))

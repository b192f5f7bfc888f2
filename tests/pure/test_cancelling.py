"""What of a cancelled goal is over for certain."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from orchestration.cancelling import (
    QUEUED,
    REQUEST,
    RESERVED,
    SANDBOX,
    CallFact,
    RunFact,
    confirmations,
    holds,
    may_force,
)

ASKED = datetime(2026, 1, 1, tzinfo=UTC)
LATER = ASKED + timedelta(seconds=3)


def found(*runs: RunFact, calls: tuple[CallFact, ...] = (), reserved: int = 0) -> dict[str, tuple[str, object, bool]]:
    return {one.what: (one.subject, one.confirmed_at, one.waits) for one in confirmations(ASKED, runs, calls, reserved)}


def test_a_goal_that_nothing_was_done_for_has_only_its_reservations() -> None:
    assert found() == {RESERVED: ("all tokens", ASKED, False)}


def test_queued_runs_are_over_when_the_last_of_them_is() -> None:
    one, two = RunFact("step 1", "", ended_at=ASKED), RunFact("step 2", "", ended_at=LATER)
    assert found(one, two)[QUEUED] == ("step 1, step 2", LATER, False)
    assert found(one, RunFact("step 2", "", queued=True))[QUEUED] == ("step 1, step 2", None, True)


def test_a_sandbox_is_gone_when_its_worker_says_so_and_not_when_its_run_ends() -> None:
    name = "step 1 on host:1"
    running = RunFact("step 1", "host:1", running=True, leased=True)
    assert found(running)[SANDBOX] == (name, None, True)
    assert found(RunFact("step 1", "host:1", leased=True, ended_at=LATER))[SANDBOX] == (name, None, True)
    gone = RunFact("step 1", "host:1", leased=True, ended_at=LATER, sandbox_gone_at=LATER)
    assert found(gone)[SANDBOX] == (name, LATER, False)


def test_a_worker_whose_lease_has_ended_is_not_waited_for_and_its_sandbox_stays_named() -> None:
    lost = RunFact("step 1", "host:1", ended_at=LATER)
    assert found(lost)[SANDBOX] == ("step 1 on host:1", None, False)
    assert not holds(confirmations(ASKED, [lost], [], 0))


def test_a_request_is_shut_down_when_its_own_worker_ended_it() -> None:
    assert found(calls=(CallFact("step 1, call 2", None),))[REQUEST] == ("step 1, call 2", None, True)
    assert found(calls=(CallFact("step 1, call 2", LATER),))[REQUEST] == ("step 1, call 2", LATER, False)
    abandoned = CallFact("step 1, call 2", LATER, abandoned=True)
    assert found(calls=(abandoned,))[REQUEST] == ("step 1, call 2", None, False)


def test_what_is_reserved_holds_the_goal() -> None:
    assert found(reserved=500)[RESERVED] == ("500 tokens", None, True)
    assert found(calls=(CallFact("the plan, call 1", LATER),))[RESERVED] == ("all tokens", LATER, False)


def test_force_is_offered_after_ten_seconds() -> None:
    assert not may_force(None, ASKED)
    assert not may_force(ASKED, ASKED + timedelta(seconds=9.9))
    assert may_force(ASKED, ASKED + timedelta(seconds=10))

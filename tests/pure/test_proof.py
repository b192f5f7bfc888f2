"""What a pair of results shows, and what may decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from orchestration.proof import Proof, gating, may_differ, new_failures, pair, proven, turn


@dataclass(frozen=True)
class Ran:
    passed: bool
    origin: str = "person"
    command: str = "make test"
    flaky: bool = False
    counts: Any = None
    environment: str = "e1"


GREEN, RED = Ran(True), Ran(False)
FLAKY = Ran(True, flaky=True)


def failing(*names: str, **more: Any) -> Ran:
    return Ran(False, counts={"failures": list(names)}, **more)


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        (RED, GREEN, "fixed"),
        (GREEN, GREEN, "kept"),
        (GREEN, RED, "broken"),
        (RED, RED, "still_failing"),
        (None, GREEN, "passed"),
        (None, RED, "failed"),
        (RED, None, "pending"),
        (None, None, "pending"),
        (FLAKY, GREEN, "flaky"),
        (RED, FLAKY, "flaky"),
        (None, FLAKY, "flaky"),
    ],
)
def test_a_pair_shows(before: Ran | None, after: Ran | None, what: str) -> None:
    assert turn(before, after) == what


def of(origin: str, passed: bool, **more: Any) -> Ran:
    return Ran(passed, origin=origin, **more)


@pytest.mark.parametrize(
    ("before", "after", "gates"),
    [
        (of("person", True), of("person", False), True),
        (of("person", False), of("person", False), True),  # it was given to be passed
        (of("hidden", False), of("hidden", False), True),
        (of("discovered", True), of("discovered", False), True),
        (of("discovered", False), of("discovered", False), False),  # broken before we came, and nothing new is known
        (failing("a", origin="discovered"), failing("a", origin="discovered"), False),
        (failing("a", origin="discovered"), failing("a", "b", origin="discovered"), True),
        (of("discovered", False), failing("b", origin="discovered"), False),  # was "b" new? nobody knows
        (of("person", True), of("person", False, flaky=True), False),
        (of("discovered", True, flaky=True), of("discovered", False), False),
        (of("step", True), of("step", False), True),
    ],
)
def test_what_cannot_be_overruled(before: Ran, after: Ran, gates: bool) -> None:
    assert gating([before], [after]) == ([after] if gates else [])


@pytest.mark.parametrize(
    ("before", "after", "verified"),
    [
        ([], [], False),
        ([of("person", False)], [of("person", True)], True),
        ([of("person", False)], [of("person", False)], False),
        ([of("hidden", False)], [of("hidden", True)], True),
        ([], [of("step", True)], False),  # the work gave it to itself
        ([of("person", False)], [of("person", True, flaky=True)], False),
        ([of("person", False, flaky=True)], [of("person", True)], False),
    ],
)
def test_verified(before: list[Ran], after: list[Ran], verified: bool) -> None:
    assert proven(before, after) is verified


def test_a_hidden_check_that_fails_is_not_outvoted_by_an_open_one_that_passes() -> None:
    open_one, hidden = of("person", True, command="a"), of("hidden", False, command="b")
    assert not proven([], [open_one, hidden])


def test_a_flaky_check_neither_proves_nor_hinders_what_another_one_proves() -> None:
    flaky, sound = of("person", False, command="a", flaky=True), of("person", True, command="b")
    assert proven([], [flaky, sound])


def test_only_what_turned_is_run_again() -> None:
    was = [Ran(True, command="a"), Ran(False, command="b"), Ran(True, command="c")]
    now = [Ran(True, command="a"), Ran(True, command="b"), Ran(False, command="c"), Ran(False, command="new")]
    assert [check.command for check in may_differ(was, now)] == ["b", "c"]


def test_the_card_names_each_check_once_in_the_order_in_which_they_were_given() -> None:
    rows = [Ran(False, command="c", origin="discovered"), Ran(False, command="b")]
    card = pair(["a", "b"], ["h"], rows, [Ran(True, command="b")])
    assert [(proof.command, proof.origin, proof.turn) for proof in card] == [
        ("a", "person", "pending"),
        ("b", "person", "fixed"),
        ("h", "hidden", "pending"),
        ("c", "discovered", "pending"),
    ]


def test_what_is_new_is_said_by_name() -> None:
    before, after = failing("a"), failing("a", "price")
    assert new_failures(before, after) == ["price"]
    assert "something else fails too: price" in Proof("t", "person", before, after).said
    assert "fails still" in Proof("t", "person", before, before).said


def test_another_environment_is_told() -> None:
    assert Proof("t", "person", RED, Ran(True, environment="e2")).elsewhere
    assert not Proof("t", "person", RED, GREEN).elsewhere
    assert not Proof("t", "person", None, GREEN).elsewhere

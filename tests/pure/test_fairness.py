"""Whose goal comes next, as tables."""

from __future__ import annotations

import pytest

from orchestration.fairness import Caps, Place, Queued, Waiting, admit, caps_of, in_turn, priority_of, urgency


@pytest.mark.parametrize(
    ("priority", "waited", "expected"),
    [
        (5, 0, 5),
        (5, 299, 5),
        (5, 300, 6),
        (0, 3000, 10),  # what waits long enough comes as soon as what is most urgent
        (10, 10**9, 10),
        (0, -5, 0),  # a clock that was set back
    ],
)
def test_what_waits_rises(priority: int, waited: float, expected: int) -> None:
    assert urgency(priority, waited, 300) == expected


@pytest.mark.parametrize("given", [-1, 11, 2.5, "5", True, None])
def test_what_is_no_priority_is_refused_with_the_range(given: object) -> None:
    with pytest.raises(ValueError, match="from 0 to 10"):
        priority_of(given)


# ---- how many goals may run

ADA, BOB = Place("ada", "shop"), Place("bob", "shop")


def waits(goal: str, place: Place = ADA, priority: int = 5, waited: float = 0) -> Waiting:
    return Waiting(goal, place, priority, waited)


@pytest.mark.parametrize(
    ("line", "running", "caps", "admitted", "held"),
    [
        ([], [], Caps(), [], {}),
        ([waits("a"), waits("b")], [ADA] * 9, Caps(), ["a", "b"], {}),  # no cap: everybody
        ([waits("a", waited=2), waits("b", waited=1)], [], Caps(team=1), ["a"], {"b": "team"}),
        ([waits("a")], [BOB], Caps(team=1), [], {"a": "team"}),
        ([waits("a"), waits("b", priority=9)], [], Caps(team=1), ["b"], {"a": "team"}),
        ([waits("a", priority=4, waited=600), waits("b")], [], Caps(team=1), ["a"], {"b": "team"}),  # it rose
        # one that is held by a cap of its own does not hold up another
        ([waits("a", waited=9), waits("b", BOB)], [Place("ada", "x")], Caps(user=1), ["b"], {"a": "user"}),
        (
            [waits("a"), waits("b", Place("bob", "x"))],
            [Place("eve", "shop")],
            Caps(repository=1),
            ["b"],
            {"a": "repository"},
        ),
        ([waits("a", waited=2), waits("b", waited=1)], [], Caps(repository=1), ["a"], {"b": "repository"}),
        ([waits("a", Place()), waits("b", Place())], [Place()], Caps(user=1, repository=1), ["a", "b"], {}),
        ([waits("a"), waits("b", BOB)], [ADA], Caps(team=2, user=1), ["b"], {"a": "user"}),
    ],
)
def test_who_of_a_line_may_run(
    line: list[Waiting], running: list[Place], caps: Caps, admitted: list[str], held: dict[str, str]
) -> None:
    found = admit(line, running, caps, 300)
    assert (list(found.admitted), dict(found.held)) == (admitted, held)


def test_a_team_has_its_own_caps_or_those_of_the_installation() -> None:
    installation = {"team": 3, "user": 2, "repository": 0}
    assert caps_of(installation, {}) == Caps(3, 2, 0)
    assert caps_of(installation, {"team": 0, "repository": 1}) == Caps(0, 2, 1)
    assert not Caps().any


# ---- the order at the workers


def queued(run: str, team: str, goal_priority: int = 5, priority: int = 5, waited: float = 0) -> Queued:
    return Queued(run, team, goal_priority, priority, waited)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], []),
        ([queued("new", "a", waited=1), queued("old", "a", waited=9)], ["old", "new"]),
        (
            [*(queued(f"a{n}", "a", waited=100 - n) for n in range(3)), queued("b0", "b", waited=1)],
            ["a0", "b0", "a1", "a2"],
        ),
        ([queued("low", "a", 1, waited=99), queued("high", "b", 9)], ["high", "low"]),
        ([queued("step 3", "a", priority=3, waited=9), queued("step 8", "a", priority=8)], ["step 8", "step 3"]),
        ([queued("rose", "a", 0, waited=3000), queued("highest", "b", 10)], ["rose", "highest"]),
    ],
)
def test_the_order_at_the_workers(rows: list[Queued], expected: list[str]) -> None:
    assert in_turn(rows, 300) == expected

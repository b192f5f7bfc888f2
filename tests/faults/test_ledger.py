"""Who dies where: each wanted occurrence once, whichever lane comes first; and a place that nobody died at is told."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.faults.crash_points import Verdict
from tests.faults.ledger import MOST_OF_A_RUN, Ledger
from tests.faults.seams import Point

FIRST, SECOND = (
    Point("before commit: a > b", "work: step 1", 1, "r1"),
    Point("before commit: a > b", "work: step 1", 2, "r1"),
)


def test_each_occurrence_is_died_at_once_by_whoever_comes_first(tmp_path: Path) -> None:
    one, two = (Ledger(tmp_path / "ledger", map(str, (FIRST, SECOND))) for _ in range(2))
    assert one.of_life(Counter())(FIRST)
    assert not two.of_life(Counter())(FIRST)
    assert two.of_life(Counter())(SECOND)
    assert not one.of_life(Counter())(SECOND)


def test_of_what_the_undisturbed_way_does_not_pass_each_place_is_enough(tmp_path: Path) -> None:
    fate = Ledger(tmp_path / "ledger", []).of_life(Counter())
    assert fate(FIRST)
    assert not fate(SECOND)
    assert fate(Point("after commit: a > b", "work: step 1", 1, "r1"))


def test_a_life_that_began_earlier_sees_what_others_took_meanwhile(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger", [str(FIRST)])
    early, late = ledger.of_life(Counter()), ledger.of_life(Counter())
    assert late(FIRST)
    assert not early(FIRST)


def test_a_run_is_not_killed_more_often_than_says_something(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger", [str(FIRST)])
    assert not ledger.of_life(Counter(r1=MOST_OF_A_RUN))(FIRST)
    assert ledger.of_life(Counter(r1=MOST_OF_A_RUN - 1, r2=MOST_OF_A_RUN))(FIRST)


def verdict(*died: str) -> Verdict:
    points = [("a", "a [x, 1]"), ("a", "a [x, 2]"), ("b", "b [x, 1]")]
    found = Verdict()
    found.add({"case": "undisturbed", "died": [], "trouble": [], "tree": "t", "losses": 0, "points": points})
    found.add({"case": "lane 1", "died": list(died), "trouble": [], "tree": "t", "losses": 1})
    return found


def test_a_place_that_nobody_died_at_is_told() -> None:
    assert verdict("a [x, 1]").told(0, every=False) == ["nobody died at: b"]
    assert verdict("a [x, 9]", "b [x, 1]").told(0, every=False) == []


def test_so_are_occurrences_where_every_one_is_asked_for() -> None:
    assert verdict("a [x, 1]", "b [x, 1]").told(0, every=True) == ["nobody died at: a [x, 2]"]
    assert "2 of 2 places and 3 of 3 occurrences" in str(verdict("a [x, 1]", "a [x, 2]", "b [x, 1]"))


def test_a_case_that_ends_otherwise_is_told_with_where_it_died() -> None:
    found = Verdict()
    found.add({"case": "lane 2", "died": ["a [x, 1]"], "trouble": ["its tree is another"]})
    assert found.trouble == ["lane 2: its tree is another (it died at a [x, 1])"]

"""Which files two goals share, by what they may write and what they wrote."""

from __future__ import annotations

import pytest

from orchestration.overlaps import MOST, pairs, shared


@pytest.mark.parametrize(
    ("mine", "theirs", "both"),
    [
        (["a.py"], ["a.py"], ["a.py"]),
        (["a.py"], ["b.py"], []),
        (["src/a.py", "x"], ["src/*.py", "y"], ["src/a.py"]),
        (["src/**"], ["src/deep/a.py"], ["src/deep/a.py"]),
        (["src/**"], ["src/*.py"], ["src/*.py"]),
        (["docs/*"], ["src/*"], []),
        (["**"], ["a.py"], []),
        ([], ["a.py"], []),
        (["*.py", "b.txt"], ["a.py", "b.txt"], ["a.py", "b.txt"]),
    ],
)
def test_what_two_share(mine: list[str], theirs: list[str], both: list[str]) -> None:
    assert shared(mine, theirs) == both
    assert bool(shared(theirs, mine)) is bool(both)


def test_pairs_are_told_once_and_names_are_limited() -> None:
    touched = {1: ["a", "b"], 2: ["b"], 3: ["c"], 4: ["b", "c"]}
    assert pairs(touched) == [(1, 2, ["b"]), (1, 4, ["b"]), (2, 4, ["b"]), (3, 4, ["c"])]
    many = [f"{n}" for n in range(100)]
    assert len(shared(many, many)) == MOST

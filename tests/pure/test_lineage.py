"""Which finished steps are in a commit, by the line of heads alone."""

from __future__ import annotations

import pytest

from orchestration.lineage import Finished, contained, with_dependents

LINE = ["base", "c0", "c1", "c1", "c3"]  # step 2 changed nothing
STEPS = [Finished(n, n, commit) for n, commit in enumerate(LINE[1:])]
NONE: frozenset[int] = frozenset()


@pytest.mark.parametrize(("base", "kept"), [("base", set()), ("c0", {0}), ("c1", {0, 1, 2}), ("c3", {0, 1, 2, 3})])
def test_what_is_at_or_before_the_base_is_in_it(base: str, kept: set[int]) -> None:
    assert contained(LINE, base, STEPS, NONE) == kept


def test_what_is_done_again_is_not_kept_although_its_commit_is_there() -> None:
    assert contained(LINE, "c1", STEPS, frozenset({2})) == {0, 1}


def test_what_another_goal_had_finished_is_in_every_head() -> None:
    assert contained(LINE, "base", [Finished(7, 7, "old", inherited=True), *STEPS], NONE) == {7}


def test_a_base_from_elsewhere_says_nothing() -> None:
    with pytest.raises(LookupError):
        contained(LINE, "c9", STEPS, NONE)


def test_who_needs_a_step_needs_it_through_others_too() -> None:
    assert with_dependents(1, {0: [], 1: [0], 2: [1], 3: [2, 0], 4: [0]}) == {1, 2, 3}

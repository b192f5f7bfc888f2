"""Whose goal comes next, as tables."""

from __future__ import annotations

import pytest

from orchestration.fairness import priority_of, urgency


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

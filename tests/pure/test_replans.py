"""What a new revision made of the one before."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration.replans import replan_report, what_changed


def step(index: int, description: str, status: str = "pending", **more: Any) -> dict[str, Any]:
    return {
        "index": index,
        "description": description,
        "status": status,
        "check": "",
        "dependencies": [],
        "carried": False,
        **more,
    }


DONE = step(0, "read the parser", "succeeded")
MEND, TEST = step(1, "mend the parser for empty lines", "failed"), step(2, "write a test for it")


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ([MEND, TEST], {"kept": [0, 1, 2], "changed": [], "dropped": [], "new": [], "dropped_tokens": 0}),
        (
            [step(0, "mend the parser for empty lines and tabs"), step(1, "write a test for it")],
            {"kept": [0, 2], "changed": [[1, 0]], "dropped": [], "new": [], "dropped_tokens": 0},
        ),
        (
            [step(0, "throw the whole module away")],
            {"kept": [0], "changed": [], "dropped": [1, 2], "new": [0], "dropped_tokens": 700},
        ),
        (
            [step(5, "write a test for it", check="make test")],
            {"kept": [0], "changed": [[2, 5]], "dropped": [1], "new": [], "dropped_tokens": 700},
        ),
        (
            [step(0, "read the parser", "succeeded", carried=True), MEND],
            {"kept": [0, 1], "changed": [], "dropped": [2], "new": [], "dropped_tokens": 0},
        ),
        ([], {"kept": [0], "changed": [], "dropped": [1, 2], "new": [], "dropped_tokens": 700}),
    ],
    ids=["the same", "other words, other numbers", "all new", "another check", "carried", "nothing"],
)
def test_each_step_is_kept_changed_dropped_or_new(new: list[dict[str, Any]], expected: dict[str, Any]) -> None:
    assert replan_report([DONE, MEND, TEST], new, {0: 90, 1: 700}) == expected


def test_a_step_becomes_one_other_at_most_and_the_most_alike() -> None:
    old = [step(0, "mend the reader"), step(1, "mend the readers")]
    report = replan_report(old, [step(0, "mend the readers")], {})
    assert (report["kept"], report["dropped"], report["new"]) == ([1], [0], [])


def test_it_is_told_in_a_line() -> None:
    report = replan_report([DONE, MEND, TEST], [step(1, "write a test for it", check="make test")], {1: 700})
    assert (
        what_changed(report) == "steps kept 0; changed 2 (now 1); dropped 1; 700 tokens had gone into what was dropped"
    )
    assert what_changed(replan_report([], [], {})) == ""


def test_hostile_plans_are_compared_in_no_time() -> None:
    """Fifty steps of the longest texts, each like all others but for a word: letter by letter that took minutes."""
    texts = [" ".join(f"w{n % 97}" for n in range(k, k + 1200)) for k in range(50)]
    sides = [[step(n, f"{side} {text}") for n, text in enumerate(texts)] for side in "ab"]
    report = replan_report(sides[0], sides[1], {})
    assert len(report["changed"]) == 50

"""Is a piece of work tried again, and after how long?"""

from __future__ import annotations

import pytest

from orchestration.retry import Again, Ended, GiveUp, backoff, decide

NO = Ended("failed", "work", "no")
CONFLICT = Ended("failed", "conflict", "a.txt")
BROKE = Ended("errored", "transient", "broke")
ODD = Ended("errored", "unknown", "odd")


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([BROKE], Again(2)),
        ([ODD, BROKE], Again(4)),
        ([BROKE] * 3, Again(8)),
        ([BROKE] * 4, GiveUp("broke 4 times; the last: broke", honest=False)),
        ([NO], Again(0)),
        ([NO] * 2, Again(0)),
        ([NO] * 3, GiveUp("failed 3 times; the last: no", honest=True)),
        ([NO, NO, BROKE], Again(2)),
        ([BROKE, BROKE, NO], Again(0)),
        ([CONFLICT] * 3, Again(0)),
        ([CONFLICT] * 4, GiveUp("4 merge conflicts in a row; the last: a.txt", honest=True)),
        ([NO, NO, CONFLICT], Again(0)),
        ([Ended("errored", "deadline", "slow")], Again(2)),
        ([Ended("errored", "lost", "five workers")], Again(2)),
    ],
)
def test_what_follows(history: list[Ended], expected: Again | GiveUp) -> None:
    assert decide(history) == expected


@pytest.mark.parametrize("kind", ["permanent", "invalid_reply", "environment_missing"])
def test_what_is_never_tried_again(kind: str) -> None:
    assert decide([Ended("errored", kind, "set LLM_API_KEY")]) == GiveUp("set LLM_API_KEY", honest=False)


@pytest.mark.parametrize(
    ("broken", "asked", "expected"),
    [(1, None, 2), (4, None, 16), (9, None, 30), (1, 1.0, 2), (1, 20.0, 20), (9, 45.0, 45), (1, 9999.0, 600)],
)
def test_how_long(broken: int, asked: float | None, expected: float) -> None:
    assert backoff(broken, asked) == expected

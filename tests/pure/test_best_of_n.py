"""How several rollouts differ, when they start, and which is the best: as tables; and that there is one, whatever ends when."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.diversity import HINTS, Variation, as_line, cleaned, parse, spread
from orchestration.flow import Candidate, GoalView, RunView, decide_goal
from orchestration.scoring import Work, because, rank, score
from orchestration.starting import Purse, Turn, Used, overdrawn, refused, waits


@pytest.mark.parametrize(
    ("work", "points"),
    [
        (Work(steps=10), 100),
        (Work(steps=1), 109),
        (Work(steps=12), 100),
        (Work(errors=1, steps=10), 95),
        (Work(retries=1, steps=10), 98),
        (Work(errors=2, retries=3, steps=8), 100 - 10 - 6 + 2),
        (Work(seconds=60, steps=10), 100),
        (Work(seconds=90, steps=10), 97),
        (Work(errors=30, steps=10), 0),
    ],
)
def test_the_score(work: Work, points: float) -> None:
    assert score(work) == points
    assert score(work, failed=True) == 0


def candidate(number: int, **more: Any) -> Candidate:
    plain = {"verified": True, "score": 105.0, "changed_lines": 5, "tokens": 1000}
    return Candidate(f"r{number}", number, "succeeded", **(plain | more))


@pytest.mark.parametrize(
    ("better", "worse", "said"),
    [
        ({"score": 0.0}, {"verified": False}, "is verified, and no other"),
        ({"score": 106.0, "changed_lines": 99}, {}, "highest score, 106; the next is rollout 1 with 105"),
        ({"changed_lines": 4, "tokens": 9999}, {}, "smallest diff, 4 lines"),
        ({"changed_lines": 0}, {"changed_lines": None}, "smallest diff, 0 lines; the next is rollout 1 with unknown"),
        ({"tokens": 999}, {}, "cost least, 999 tokens"),
        ({"tokens": 1}, {"tokens": None}, "cost least, 1 tokens; the next is rollout 1 with unknown"),
        ({"votes": 2}, {"votes": 1}, "the judge preferred it 2 times"),
    ],
)
def test_the_order_of_candidates_and_the_reason(better: Any, worse: Any, said: str) -> None:
    best, other = candidate(2, **better), candidate(1, **worse)
    assert rank(best) < rank(other)
    assert said in because(best, [other])


def test_between_equals_the_lower_number_decides() -> None:
    assert rank(candidate(1)) < rank(candidate(2))
    assert "the lower number" in because(candidate(1), [candidate(2)])
    assert "the only one" in because(candidate(1), [])


# ---- whatever ends when


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_exactly_one_is_selected_whatever_ends_when(data: st.DataObject) -> None:
    """Rollouts end in any order and way; a judge may be asked, break, or say nothing. The selection never changes once it is made."""
    strategy = data.draw(st.sampled_from(["early_termination", "best_of_n"]))
    rollouts = {n: Candidate(f"r{n}", n, "running") for n in range(1, data.draw(st.integers(1, 5)) + 1)}
    judges: tuple[RunView, ...] = ()
    selected, ended, status = None, 0, "running"
    for _ in range(60):
        decided = decide_goal(GoalView(status, "open", strategy, tuple(rollouts.values()), judges=judges))
        status = decided.status
        if decided.selected is not None:
            assert selected in (None, decided.selected), "another one was selected later"
            selected = decided.selected
            assert rollouts[int(selected[1:])].status == "succeeded"
            assert decided.because or len(rollouts) == 1
        if status in ("succeeded", "failed", "cancelled"):
            break
        if decided.judge:
            judges = (*judges, RunView(len(judges), "judge", "running"))
        elif judges and judges[-1].is_live:
            how = data.draw(st.sampled_from(["succeeded", "errored", "cancelled"]))
            judges = (*judges[:-1], replace(judges[-1], status=how, error_kind="transient", error="it broke"))
            if how == "succeeded":
                rollouts = {n: replace(r, votes=data.draw(st.integers(0, 3))) for n, r in rollouts.items()}
        else:
            live = [n for n, r in rollouts.items() if r.status == "running"]
            n, ended = data.draw(st.sampled_from(live)), ended + 1
            losing = rollouts[n].id in decided.losers
            how = (
                "cancelled" if losing else data.draw(st.sampled_from(["succeeded", "succeeded", "failed", "cancelled"]))
            )
            few = st.integers(0, 1)
            rollouts[n] = replace(
                rollouts[n], status=how, ended=ended, reason="so", verified=how == "succeeded" and data.draw(st.booleans()),
                score=float(data.draw(few)), changed_lines=data.draw(few), tokens=data.draw(few),
            )  # fmt: skip
    won = [r for r in rollouts.values() if r.status == "succeeded"]
    assert status == (
        "succeeded" if won else "cancelled" if all(r.status == "cancelled" for r in rollouts.values()) else "failed"
    )
    assert (selected is not None) == bool(won)


# ---- how they differ


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("direct", {"hint": "direct"}),
        (
            "hint=thorough, temperature=0.7 model=qwen/3:14b",
            {"hint": "thorough", "temperature": 0.7, "model": "qwen/3:14b"},
        ),
        ("temperature=0", {"temperature": 0.0}),
        ("", {}),
    ],
)
def test_a_variation_as_it_is_typed(line: str, told: dict[str, Any]) -> None:
    assert parse(line) == told
    assert parse(as_line(told)) == told


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ([{"hint": "lazy"}], "unknown hint 'lazy'; there are direct, thorough, creative"),
        ([{"temperature": 3.0}], "from 0 to 2"),
        ([{"temperature": True}], "from 0 to 2"),
        ([{"mood": "good"}], "cannot differ in mood"),
        ([{"model": "a\nb"}], "model's name"),
        ([{}, {}, {}], "3 variations are declared for 2"),
    ],
)
def test_what_cannot_be_declared(declared: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        cleaned(declared, 2)


@pytest.mark.parametrize("line", ["temperature=hot", "temperature=nan", "direct creative"])
def test_what_cannot_be_typed(line: str) -> None:
    with pytest.raises(ValueError, match=r"temperature|twice"):
        parse(line)


def test_each_rollout_gets_one_in_turn() -> None:
    assert [v.hint for v in spread([], 5)] == ["", "direct", "thorough", "creative", ""]
    assert [v.temperature for v in spread([Variation(temperature=0.1), Variation(temperature=0.9)], 3)] == [
        0.1,
        0.9,
        0.1,
    ]
    assert all(Variation(hint).words for hint in HINTS)


# ---- when they start


@pytest.mark.parametrize(
    ("turn", "starts"),
    [
        (Turn(), True),
        (Turn(60), False),
        (Turn(60, since=59), False),
        (Turn(60, since=60), True),
        (Turn(60, since=1, before_ended=True), True),
        (Turn(60, since=1, before_ended=True, before_verified=True), False),
        (Turn(60, before_ended=True), True),
    ],
    ids=["at once", "not begun", "too early", "due", "it failed", "it is verified", "never started"],
)
def test_the_next_waits_for_its_turn(turn: Turn, starts: bool) -> None:
    assert (waits(turn) == "") is starts


@pytest.mark.parametrize(
    ("purse", "starts"),
    [
        (Purse(Used(3, 0)), True),
        (Purse(Used(2, 0)), False),
        (Purse(Used(99, 4095), least_tokens=4096), False),
        (Purse(Used(5, 99), working=[Used(0, 0)]), False),
        (Purse(Used(6, 99), working=[Used(0, 0)]), True),
        (Purse(Used(5, 99), working=[Used(1, 0)]), True),
        (Purse(Used(9, 999), ended=[Used(10, 50)]), False),
        (Purse(Used(99, 999), ended=[Used(10, 1000)]), False),
        (Purse(Used(10, 1000), ended=[Used(10, 1000), Used(2, 3)]), True),
        (Purse(Used(15, 9000), ended=[Used(10, 10)], working=[Used(4, 0)]), False),
    ],
)
def test_none_is_started_that_cannot_be_paid_for(purse: Purse, starts: bool) -> None:
    assert (refused(purse) == "") is starts


@pytest.mark.parametrize(
    ("mine", "ended", "open_ones", "said"),
    [
        (Used(49, 0), [], 2, ""),
        (Used(50, 0), [], 2, "50 of 50 model calls (others to go on: 1)"),
        (Used(50, 0), [Used(10, 0)], 2, "50 of 45 model calls"),
        (Used(50, 0), [Used(90, 0)], 1, ""),
        (Used(0, 400), [], 3, "400 of 333 tokens (others to go on: 2)"),
        (Used(1, 1, 7_000), [Used(1, 1, 6_000)], 2, "7000 of 7000 millionths"),
        (Used(1, 1, 6_999), [Used(1, 1, 6_000)], 2, ""),
        (Used(0, 0), [Used(200, 0)], 2, "0 of 0 model calls"),
    ],
)
def test_a_rollout_has_its_share_of_what_the_ended_ones_left(
    mine: Used, ended: list[Used], open_ones: int, said: str
) -> None:
    told = overdrawn(Used(100, 1_000, 20_000), mine, ended, open_ones)
    assert said in told
    assert bool(told) is bool(said)


def test_no_limit_in_usd_is_no_share_of_none() -> None:
    assert overdrawn(Used(100, 1_000), Used(1, 1, 5_000_000), [], 2) == ""

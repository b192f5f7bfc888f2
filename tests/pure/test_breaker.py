"""When a breaker opens, when it lets a run through, when it stays open."""

from __future__ import annotations

import pytest

from orchestration.breaker import NO_ROW, Rules, Standing, costs_an_attempt, failed, is_due, rules_of

RULES = Rules(failures=3, first=5, longest=60)


def closed(failures: int) -> Standing:
    return Standing("closed", failures)


@pytest.mark.parametrize(
    ("was", "more", "after"),
    [
        (closed(0), {}, Standing("closed", 1)),
        (closed(1), {"since_last": 3}, Standing("closed", 2)),
        (closed(2), {"since_last": 3}, Standing("open", 3, 0, 5)),
        (closed(2), {"since_last": 3, "asked": 30}, Standing("open", 3, 0, 30)),
        (closed(2), {"since_last": 3, "asked": 1}, Standing("open", 3, 0, 5)),
        (closed(2), {"since_last": 3, "asked": 90_000}, Standing("open", 3, 0, 600)),
        (closed(2), {"since_last": NO_ROW + 1}, Standing("closed", 1)),
        (closed(2), {"since_last": None}, Standing("closed", 1)),
        (Standing("open", 3), {"since_last": 1}, Standing("open", 4, 0, None)),
        (Standing("open", 7, 2), {"since_last": 1, "asked": 60}, Standing("open", 8, 2, None)),
        (Standing("half_open", 3), {"since_last": 5}, Standing("open", 4, 1, 10)),
        (Standing("half_open", 4, 1), {"since_last": 5}, Standing("open", 5, 2, 20)),
        (Standing("half_open", 6, 3), {"since_last": 5}, Standing("open", 7, 4, 60)),
        (Standing("half_open", 90, 5000), {"since_last": 5}, Standing("open", 91, 5001, 60)),
    ],
)
def test_after_a_failure(was: Standing, more: dict[str, float], after: Standing) -> None:
    assert failed(was, RULES, **more) == after


def test_one_failure_opens_it_where_one_is_enough() -> None:
    assert failed(Standing(), Rules(1, 2, 8)) == Standing("open", 1, 0, 2)


@pytest.mark.parametrize(
    ("status", "probe_due", "is_probed", "let_through"),
    [
        ("closed", True, False, False),
        ("open", False, False, False),
        ("open", True, False, True),
        ("open", True, True, True),  # it opened anew while the last one was still at work
        ("half_open", True, True, False),
        ("half_open", False, False, True),  # the run that tried has ended without a word
    ],
)
def test_one_run_at_a_time_is_let_through(status: str, probe_due: bool, is_probed: bool, let_through: bool) -> None:
    assert is_due(status, probe_due=probe_due, is_probed=is_probed) is let_through


@pytest.mark.parametrize(
    ("was", "doubts", "costs"),
    [
        ("closed", 0, False),  # it may be the first to meet an outage
        ("closed", 2, False),  # the third failure in a row is what opens it
        ("closed", 3, True),  # others were answered meanwhile, or it were open: it is this request
        ("closed", 9, True),
        ("open", 0, False),
        ("open", 9, False),
        ("half_open", 0, False),
        ("half_open", 9, False),
    ],
)
def test_a_failure_costs_an_attempt_where_the_request_is_to_blame(was: str, doubts: int, *, costs: bool) -> None:
    assert costs_an_attempt(was, doubts, RULES) is costs


def test_settings_that_make_no_sense_are_bounded() -> None:
    assert rules_of({"failures": 0, "first": 0, "longest": 0}) == Rules(1, 0.1, 0.1)

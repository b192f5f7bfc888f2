"""What a goal will probably cost, from finished ones, as tables."""

from __future__ import annotations

import pytest

from orchestration.forecast import (
    LEAST,
    Forecast,
    Range,
    Sample,
    error,
    error_in_words,
    forecast_from,
    foretell,
    in_words,
    quantile,
)

TEN = list(range(1, 11))


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([7], 0.5, 7),
        ([7], 0.9, 7),
        ([1, 2], 0.5, 1),
        ([3, 1, 2], 0.5, 2),
        (TEN, 0.5, 5),
        (TEN, 0.9, 9),
        (TEN, 1.0, 10),
        (TEN, 0.01, 1),
        ([1, 1, 1, 1, 100], 0.5, 1),
        ([1, 1, 1, 1, 100], 0.9, 100),  # one of five is more than a tenth
        ([0.0, 0.5], 0.9, 0.5),
    ],
)
def test_a_quantile_is_a_value_that_was_seen(values: list[float], share: float, expected: float) -> None:
    assert quantile(values, share) == expected
    assert quantile(list(reversed(values)), share) == expected


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1], 0), ([1], 1.1)])
def test_a_quantile_of_nothing_is_refused(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="quantile"):
        quantile(values, share)


def samples(n: int, micro: int | None = 1000) -> list[Sample]:
    return [Sample(10 * k, float(k), micro and micro * k) for k in range(1, n + 1)]


@pytest.mark.parametrize(
    ("kinds", "n", "of"),
    [
        ([("team", samples(0))], 0, "team"),
        ([("repository", samples(LEAST - 1)), ("team", samples(LEAST - 1))], LEAST - 1, "team"),
        ([("repository", samples(LEAST - 1)), ("team", samples(LEAST))], LEAST, "team"),
        ([("repository", samples(LEAST)), ("team", samples(99))], LEAST, "repository"),
        ([("schedule", samples(LEAST)), ("repository", samples(50)), ("team", samples(99))], LEAST, "schedule"),
    ],
)
def test_the_closest_kind_that_has_enough_is_taken(kinds: list[tuple[str, list[Sample]]], n: int, of: str) -> None:
    found = foretell(kinds)
    assert (found.n, found.of, found.tokens is not None) == (n, of, n >= LEAST)


def test_ranges_and_how_they_are_stored() -> None:
    found = foretell([("team", samples(10))])
    assert found == Forecast(10, "team", Range(5000, 9000), Range(50, 90), Range(5, 9))
    assert forecast_from(found.stored()) == found


def test_an_unknown_price_is_no_zero() -> None:
    mixed = [*samples(LEAST - 1), *samples(9, None)]
    found = foretell([("team", mixed)])
    assert found.micro_usd is None
    assert found.tokens is not None


@pytest.mark.parametrize(
    ("forecast", "said"),
    [
        (Forecast(2, "team"), "too few finished goals: n=2 (5 are needed)"),
        (
            Forecast(12, "repository", Range(120_000, 400_000), Range(900, 2000), Range(90, 240)),
            "P50 0.12 USD, P90 0.40 USD; P50 90 s, P90 4 min (from 12 finished goals on the same repository)",
        ),
        (
            Forecast(12, "schedule", None, Range(900, 20_000), Range(90, 9000)),
            "P50 900 tokens, P90 20,000 tokens, at an unknown price; P50 90 s, P90 2.5 h "
            "(from 12 finished goals of the same schedule)",
        ),
    ],
)
def test_in_words(forecast: Forecast, said: str) -> None:
    assert in_words(forecast.stored()) == said


def test_how_it_came_out() -> None:
    forecast = Forecast(9, "team", Range(1000, 2000), Range(0, 10), Range(10, 20))
    found = error(forecast, Sample(7, 30.0, 1500))
    assert found == {
        "micro_usd": {"actual": 1500, "ratio": 1.5, "within_p90": True},
        "tokens": {"actual": 7, "ratio": None, "within_p90": True},
        "seconds": {"actual": 30.0, "ratio": 3.0, "within_p90": False},
    }
    words = error_in_words({**forecast.stored(), "error": found})
    assert words == "cost 1.5 times P50, within P90; time 3 times P50, beyond P90"
    assert error(forecast, Sample(7, 30.0, None)).keys() == {"tokens", "seconds"}, "unknown is not compared"
    assert error(Forecast(2, "team"), Sample(7, 30.0, 1)) == {}
    assert error_in_words({}) == ""

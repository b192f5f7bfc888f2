"""PURE: what a goal will probably cost and how long it will take, from finished goals that are like it. Values in, values out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .pricing import in_usd

LEAST = 5  # finished goals, or nothing is foretold
OF = {"schedule": "of the same schedule", "repository": "on the same repository", "team": "of the same team"}
MEASURES = ("micro_usd", "tokens", "seconds")


@dataclass(frozen=True, slots=True)
class Sample:
    """A goal that has ended. `micro_usd` None: the price of some call is unknown."""

    tokens: int
    seconds: float
    micro_usd: int | None = None


@dataclass(frozen=True, slots=True)
class Range:
    """Half of them stayed at or below `p50`, nine of ten at or below `p90`."""

    p50: float
    p90: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """From `n` finished goals of the kind `of`. All ranges None: they are too few; `micro_usd` alone: too few have a known price."""

    n: int
    of: str
    micro_usd: Range | None = None
    tokens: Range | None = None
    seconds: Range | None = None

    def stored(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def forecast_from(stored: Mapping[str, Any]) -> Forecast:
    ranges = {name: Range(**stored[name]) for name in MEASURES if stored.get(name)}
    return Forecast(stored["n"], stored["of"], **ranges)


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least this share of them does not exceed (nearest rank: one that was really seen)."""
    if not values or not 0 < share <= 1:
        raise ValueError("a quantile needs values, and a share above 0 up to 1")
    return sorted(values)[math.ceil(share * len(values)) - 1]


def foretell(kinds: Sequence[tuple[str, Sequence[Sample]]]) -> Forecast:
    """From the first kind that has enough samples, the closest one first; too few everywhere: how many the last one has."""
    for of, samples in kinds:
        if len(samples) >= LEAST:
            priced = [s.micro_usd for s in samples if s.micro_usd is not None]
            return Forecast(
                len(samples),
                of,
                _range(priced) if len(priced) >= LEAST else None,
                _range([s.tokens for s in samples]),
                _range([s.seconds for s in samples]),
            )
    return Forecast(len(kinds[-1][1]), kinds[-1][0])


def _range(values: Sequence[float]) -> Range:
    return Range(quantile(values, 0.5), quantile(values, 0.9))


def error(forecast: Forecast, actual: Sample) -> dict[str, dict[str, Any]]:
    """By measure: what it was in the end, times of P50 (None where P50 is 0), and whether it stayed within P90."""
    told = {}
    for name in MEASURES:
        expected, was = getattr(forecast, name), getattr(actual, name)
        if expected is not None and was is not None:
            ratio = round(was / expected.p50, 3) if expected.p50 else None
            told[name] = {"actual": was, "ratio": ratio, "within_p90": was <= expected.p90}
    return told


# ---- in words


def in_words(told: Mapping[str, Any]) -> str:
    """What is stored of a forecast, as a sentence."""
    if not told:
        return "none was made"
    forecast = forecast_from(told)
    if forecast.tokens is None or forecast.seconds is None:
        return f"too few finished goals: n={forecast.n} ({LEAST} are needed)"
    cost = _amounts(forecast.micro_usd, in_usd) if forecast.micro_usd else _amounts(forecast.tokens, _tokens)
    unknown = "" if forecast.micro_usd else ", at an unknown price"
    return f"{cost}{unknown}; {_amounts(forecast.seconds, _time)} (from {forecast.n} finished goals {OF[forecast.of]})"


def error_in_words(told: Mapping[str, Any]) -> str:
    """How it came in the end; empty where nothing was foretold, or it has not ended."""
    said = []
    for name, unit in (("micro_usd", "cost"), ("tokens", "tokens"), ("seconds", "time")):
        one = told.get("error", {}).get(name)
        if one is not None and one["ratio"] is not None:
            said.append(f"{unit} {one['ratio']:g} times P50, {'within' if one['within_p90'] else 'beyond'} P90")
    return "; ".join(said)


def _amounts(range_: Range, words: Any) -> str:
    return f"P50 {words(int(range_.p50))}, P90 {words(int(range_.p90))}"


def _tokens(n: int) -> str:
    return f"{n:,} tokens"


def _time(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

"""PURE: the circuit breaker of a dependency (a model at its server, a sandbox service): when it opens, is tried, and closes.

Closed: all is well. Open: too many failures in a row; whatever needs it waits. Half open: one run is let through as a probe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from .states import BreakerStatus

NO_ROW = 600.0  # seconds: failures that are further apart than this are not "in a row"
LONGEST_ASKED = 600.0  # seconds that the other side may ask us to wait before the next probe


@dataclass(frozen=True, slots=True)
class Rules:
    """`failures` in a row open it; the first probe comes after `first` seconds, the next after twice as many, up to `longest`."""

    failures: int
    first: float
    longest: float


@dataclass(frozen=True, slots=True)
class Standing:
    """`failures` in a row; `probes` that failed since it opened; `probe_in`: seconds until the next one (None: as it was)."""

    status: str = BreakerStatus.CLOSED
    failures: int = 0
    probes: int = 0
    probe_in: float | None = None


def failed(was: Standing, rules: Rules, *, since_last: float | None = None, asked: float | None = None) -> Standing:
    """After one more failure, `since_last` seconds after the one before; `asked`: how long the other side wants us to wait."""
    if was.status == BreakerStatus.OPEN:  # one that was in flight already; it says nothing new
        return replace(was, failures=was.failures + 1, probe_in=None)
    if was.status == BreakerStatus.HALF_OPEN:
        probes = was.probes + 1
        return Standing(BreakerStatus.OPEN, was.failures + 1, probes, _wait(rules, probes, asked))
    failures = 1 if since_last is None or since_last > NO_ROW else was.failures + 1
    if failures < rules.failures:
        return Standing(BreakerStatus.CLOSED, failures)
    return Standing(BreakerStatus.OPEN, failures, 0, _wait(rules, 0, asked))


def costs_an_attempt(was: str, doubts: int, rules: Rules) -> bool:
    """Is a run's failure its own? Not while the dependency is known to be away, and not for the first few times before that is known.

    `was`: the breaker's status when it came; `doubts`: how often this run has failed at a closed breaker since its last own answer.
    If others' answers keep it closed, it is this request that fails: such a run ends, and holds nobody for ever.
    """
    return was == BreakerStatus.CLOSED and doubts >= rules.failures


def is_due(status: str, *, probe_due: bool, is_probed: bool) -> bool:
    """May a run be let through now? `is_probed`: the run that was let through last is still at work; there is one at a time."""
    if status == BreakerStatus.HALF_OPEN:
        return not is_probed
    return status == BreakerStatus.OPEN and probe_due


def rules_of(values: Mapping[str, float]) -> Rules:
    """From the setting BREAKER; one failure is the least that can open it."""
    first = max(values["first"], 0.1)
    return Rules(max(int(values["failures"]), 1), first, max(values["longest"], first))


def _wait(rules: Rules, probes: int, asked: float | None) -> float:
    wait = min(rules.first * 2.0 ** min(probes, 20), rules.longest)
    return wait if asked is None else max(wait, min(asked, LONGEST_ASKED))

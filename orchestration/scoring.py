"""PURE: which of several results is the best, and why, in a sentence.

CompyMac's score: 100, less 5 for each error, 2 for each retry and 0.1 for each second above 60, and 1 more for each step
below 10; what failed has 0.
Then: verified first, the higher score, the smaller diff, the lower cost, the judge's votes, the lower number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

FULL, FREE_SECONDS, FEW_STEPS = 100.0, 60.0, 10
UNKNOWN = 1 << 60


@dataclass(frozen=True, slots=True)
class Work:
    """How a rollout came to its result. `errors`: runs that failed or broke; `retries`: runs that were a further attempt, reviews that
    sent steps back, and replans.
    """

    errors: int = 0
    retries: int = 0
    seconds: float = 0.0
    steps: int = 0


class Scored(Protocol):
    """A candidate, as far as it is compared here."""

    @property
    def number(self) -> int: ...
    @property
    def verified(self) -> bool: ...
    @property
    def score(self) -> float | None: ...
    @property
    def changed_lines(self) -> int | None: ...
    @property
    def tokens(self) -> int | None: ...
    @property
    def votes(self) -> int: ...


def score(work: Work, *, failed: bool = False) -> float:
    """To one decimal, never below 0."""
    if failed:
        return 0.0
    late = 0.1 * max(0.0, work.seconds - FREE_SECONDS)
    points = FULL - 5 * work.errors - 2 * work.retries - late + max(0, FEW_STEPS - work.steps)
    return round(max(points, 0.0), 1)


def merit(one: Scored) -> tuple[bool, float, int, int]:
    """What is known without a judge; the smaller the better."""
    return (not one.verified, -(one.score or 0.0), _or_unknown(one.changed_lines), _or_unknown(one.tokens))


def rank(one: Scored) -> tuple[bool, float, int, int, int, int]:
    """The order of candidates; no two are equal."""
    return (*merit(one), -one.votes, one.number)


def because(best: Scored, others: Sequence[Scored]) -> str:
    """Why it was chosen: by what it differs from the next one."""
    if not others:
        return f"Rollout {best.number} is the only one that succeeded."
    other = min(others, key=rank)
    mine, next_one = f"Rollout {best.number}", f"the next is rollout {other.number} with"
    if best.verified != other.verified:
        return f"{mine} is verified, and no other one is."
    if (best.score or 0.0) != (other.score or 0.0):
        return f"{mine} has the highest score, {best.score or 0:g}; {next_one} {other.score or 0:g}."
    if best.changed_lines != other.changed_lines:
        return (
            f"{mine} has the smallest diff, {_said(best.changed_lines)} lines; {next_one} {_said(other.changed_lines)}."
        )
    if best.tokens != other.tokens:
        return f"{mine} cost least, {_said(best.tokens)} tokens; {next_one} {_said(other.tokens)}."
    equal = "is as good as others by checks, score, diff and cost"
    if best.votes != other.votes:
        return f"{mine} {equal}; the judge preferred it {best.votes} times."
    return f"{mine} {equal}; the lower number decides."


def _or_unknown(value: int | None) -> int:
    return UNKNOWN if value is None else value


def _said(value: int | None) -> str:
    return "unknown" if value is None else str(value)

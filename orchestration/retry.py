"""PURE: is a piece of work tried again, and after how long? The Run is the only owner of retries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .states import RunStatus

BROKEN_RETRIES = 3  # after 2, 4, 8 seconds
FAILED_ATTEMPTS = 3  # honest failures of a step's work, the first one included
CONFLICT_RETRIES = 3
LONGEST_WAIT = 30.0
RISKY_LOSSES = 2  # a run that lost so many workers may be what kills them
NEVER_AGAIN = frozenset({"permanent", "invalid_reply", "environment_missing"})


@dataclass(frozen=True, slots=True)
class Ended:
    """How one earlier run of the same work ended."""

    status: str
    error_kind: str = ""
    error: str = ""
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Again:
    """Try again, not before `delay` seconds from now."""

    delay: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Never again; `honest` tells a step's own *no* from a machinery that broke."""

    reason: str
    honest: bool


def decide(history: Sequence[Ended], attempts: int = FAILED_ATTEMPTS) -> Again | GiveUp:
    """What follows the last of `history` (oldest first, cancelled ones left out). `attempts`: how often the work may say no."""
    last = history[-1]
    if last.error_kind in NEVER_AGAIN:
        return GiveUp(last.error or last.error_kind, honest=False)
    if last.error_kind == "conflict":
        conflicts = sum(run.error_kind == "conflict" for run in history)
        if conflicts <= CONFLICT_RETRIES:
            return Again(0)
        return GiveUp(f"{conflicts} merge conflicts in a row; the last: {last.error}", honest=True)
    if last.status == RunStatus.FAILED:
        failures = sum(run.status == RunStatus.FAILED and run.error_kind != "conflict" for run in history)
        if failures < attempts:
            return Again(0)
        return GiveUp(f"failed {failures} times; the last: {last.error}", honest=True)
    broken = sum(run.status == RunStatus.ERRORED for run in history)
    if broken <= BROKEN_RETRIES:
        return Again(backoff(broken, last.retry_after))
    return GiveUp(f"broke {broken} times; the last: {last.error}", honest=False)


def backoff(broken: int, retry_after: float | None = None) -> float:
    """2, 4, 8 … ≤ 30 seconds; what the other side asked for is honoured where it is longer, up to ten minutes."""
    wait = min(2.0**broken, LONGEST_WAIT)
    return wait if retry_after is None else min(max(wait, retry_after), 600.0)

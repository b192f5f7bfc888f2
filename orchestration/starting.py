"""PURE: may the next of several rollouts start? In its turn (staggered), and only if the goal's limits can pay for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LEAST_CALLS = 3  # a plan, one turn of one step, a review


@dataclass(frozen=True, slots=True)
class Used:
    """Model calls and tokens: what a rollout has used, needs, or may still use."""

    calls: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Turn:
    """Where a rollout that has not started stands. `before`: its predecessor.

    `seconds` is the goal's stagger (None: all start at once), `since` how long ago its predecessor started (None: not yet).
    """

    seconds: int | None = None
    since: float | None = None
    before_ended: bool = False
    before_verified: bool = False


@dataclass(frozen=True, slots=True)
class Purse:
    """What is left of the goal's limits, and what its rollouts have used: those that ended, and those at work."""

    left: Used
    ended: Sequence[Used] = ()
    working: Sequence[Used] = ()
    least_tokens: int = 0  # what the first call of any rollout sets aside


def waits(turn: Turn) -> str:
    """Why it does not start yet; empty: it is its turn."""
    if turn.seconds is None:
        return ""
    if turn.before_ended and not turn.before_verified:
        return ""
    if turn.since is None:
        return "the rollout before it has not started yet"
    if turn.since >= turn.seconds:
        return ""
    return (
        f"it starts when the one before has ended without a verified success, or in {turn.seconds - turn.since:.0f} s"
    )


def refused(purse: Purse) -> str:
    """Why it is never started: the limits leave less than it is likely to need; empty: it can be paid for.

    Needed is what the most expensive rollout so far has used, at least what any needs. Those at work keep room for as much.
    """
    need = Used(
        max([LEAST_CALLS, *(used.calls for used in purse.ended)]),
        max([purse.least_tokens, *(used.tokens for used in purse.ended)]),
    )
    kept = Used(
        sum(max(need.calls - used.calls, 0) for used in purse.working),
        sum(max(need.tokens - used.tokens, 0) for used in purse.working),
    )
    free = Used(max(purse.left.calls - kept.calls, 0), max(purse.left.tokens - kept.tokens, 0))
    for name, there, needed in (("model calls", free.calls, need.calls), ("tokens", free.tokens, need.tokens)):
        if there < needed:
            return f"not started: the goal's limits leave {there} {name} for it, and a rollout needs about {needed}"
    return ""

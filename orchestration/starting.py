"""PURE: may the next of several rollouts start, and may one go on? In its turn, if it can be paid for, and within its share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LEAST_CALLS = 3  # a plan, one turn of one step, a review


@dataclass(frozen=True, slots=True)
class Used:
    """Model calls, tokens and millionths of a USD: what a rollout has used, needs, or may still use."""

    calls: int
    tokens: int
    micro_usd: int = 0


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


def overdrawn(most: Used, mine: Used, ended: Sequence[Used], open_ones: int) -> str:
    """Why a rollout begins nothing more: its share of the goal's limits is used. Empty: it goes on.

    What the ended ones have left over is shared equally by the `open_ones` (this one among them). The last one has all of it: then
    the goal's own limits hold it. `most.micro_usd` 0: no limit in USD.
    """
    if open_ones < 2:
        return ""
    for name, what in (("calls", "model calls"), ("tokens", "tokens"), ("micro_usd", "millionths of a USD")):
        limit, used = getattr(most, name), getattr(mine, name)
        share = max(limit - sum(getattr(one, name) for one in ended), 0) // open_ones
        if limit and used >= share:
            return (
                f"its share of the goal's limits is used: {used} of {share} {what} (others to go on: {open_ones - 1})"
            )
    return ""

"""PURE: estimates before a call, limits of a goal, and which of them is reached."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from .pricing import in_usd, micro_usd

BYTES_PER_TOKEN = 3  # pessimistic for English and code (about 4), fair for other scripts
NAMES = {"calls": "model calls", "tokens": "tokens", "commands": "commands", "seconds": "seconds"}
NO_CAP = {"steps": "attempts at steps", "usd": "USD"}  # limits that a goal has only if somebody wants them
ALL_NAMES = NAMES | NO_CAP
COLUMNS = {name: f"max_{name}" for name in ALL_NAMES} | {"usd": "max_micro_usd"}
LARGEST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Limits:
    """The caps of one goal, each counted before it is used. `seconds` from its first claim."""

    calls: int
    tokens: int
    commands: int
    seconds: int
    steps: int | None = None
    micro_usd: int | None = None
    tokens_limited: bool = False  # somebody gave that limit

    def lowered(self, **given: Any) -> Limits:
        """These limits with some of them lower; `usd` is an amount in USD. Raises ValueError for a higher one, one below 1, or an
        unknown name.
        """
        caps = asdict(self)
        for name, value in given.items():
            if name not in ALL_NAMES:
                raise ValueError(f"there is no limit {name!r}; there are {', '.join(ALL_NAMES)}")
            if name == "usd":
                continue
            cap = caps[name] or LARGEST
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= cap:
                setting = " (the setting)" if name in NAMES else ""
                raise ValueError(
                    f"the limit of {ALL_NAMES[name]} must be a number from 1 to {cap}{setting}, not {value!r}"
                )
        counted = {name: value for name, value in given.items() if name != "usd"}
        money = {"micro_usd": micro_usd(given["usd"])} if "usd" in given else {}
        return replace(self, **counted, **money, tokens_limited=self.tokens_limited or "tokens" in given)


@dataclass(frozen=True, slots=True)
class Used:
    calls: int = 0
    tokens: int = 0
    commands: int = 0
    seconds: int = 0


def estimate_tokens(prompt_bytes: int, max_tokens: int) -> int:
    """What a call may cost at most, before it is made: the prompt by its size, the answer by its limit."""
    return -(-prompt_bytes // BYTES_PER_TOKEN) + max_tokens


def cap_reached(limits: Limits, used: Used) -> str:
    """The first limit that leaves no room, in words; empty when there is room in all."""
    for name, words in NAMES.items():
        cap, spent = getattr(limits, name), getattr(used, name)
        if spent >= cap:
            return f"{spent} of {cap} {words} are used"
    return ""


def to_warn_of(used: Mapping[str, int], limits: Mapping[str, int | None], warned: Collection[str] = ()) -> list[str]:
    """The limits of which four fifths are used, without those that were told already; by their names, money in micro-USD."""
    return [name for name, most in limits.items() if most and name not in warned and 5 * used[name] >= 4 * most]


def of_limit(name: str, used: int, most: int) -> str:
    """`160 of 200 model calls`, `1.60 USD of 2.00 USD`."""
    return f"{in_usd(used)} of {in_usd(most)}" if name == "usd" else f"{used:,} of {most:,} {ALL_NAMES[name]}"


def month_of(now: datetime) -> date:
    """The first day of a calendar month, in UTC."""
    return now.astimezone(UTC).date().replace(day=1)


def allotments(limit: int, needed: int) -> list[int]:
    """What a goal asks of its team's month, in micro-USD, the larger amount first: a twentieth of it, or else what it needs now."""
    return sorted({max(limit // 20, needed), needed}, reverse=True)

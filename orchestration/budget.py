"""PURE: estimates before a call, limits of a goal, and which of them is reached."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

BYTES_PER_TOKEN = 3  # pessimistic for English and code (about 4), fair for other scripts
NAMES = {"calls": "model calls", "tokens": "tokens", "commands": "commands", "seconds": "seconds"}


@dataclass(frozen=True, slots=True)
class Limits:
    """The caps of one goal, each counted before it is used. `seconds` from its first claim."""

    calls: int
    tokens: int
    commands: int
    seconds: int

    def lowered(self, **given: int) -> Limits:
        """These limits with some of them lower. Raises ValueError for a higher one, one below 1, or an unknown name."""
        for name, value in given.items():
            cap = asdict(self).get(name)
            if cap is None:
                raise ValueError(f"there is no limit {name!r}; there are {', '.join(NAMES)}")
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= cap:
                raise ValueError(
                    f"the limit of {NAMES[name]} must be a number from 1 to {cap} (the setting), not {value!r}"
                )
        return replace(self, **given)


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

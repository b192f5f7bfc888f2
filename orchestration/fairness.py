"""PURE: whose goal comes next. Priority, then teams in turns, then age; who waits rises, so that nobody waits for ever."""

from __future__ import annotations

from typing import Any

LOWEST, NORMAL, HIGHEST = 0, 5, 10


def priority_of(given: Any) -> int:
    """A priority that somebody typed. Raises ValueError."""
    if isinstance(given, bool) or not isinstance(given, int) or not LOWEST <= given <= HIGHEST:
        raise ValueError(f"a priority is a whole number from {LOWEST} to {HIGHEST}, not {str(given)[:40]!r}")
    return given


def urgency(priority: int, waited: float, rises_every: float) -> int:
    """The priority of what has `waited` so many seconds: one more for each `rises_every`, up to the highest."""
    return min(HIGHEST, priority + int(max(0.0, waited) // rises_every))

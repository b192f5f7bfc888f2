"""PURE: whose goal comes next. Priority, then teams in turns, then age; who waits rises, so that nobody waits for ever."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


# ---- how many goals may run


@dataclass(frozen=True, slots=True)
class Caps:
    """The most goals of one team that may run at once: in all, of each user, on each repository. 0: any number."""

    team: int = 0
    user: int = 0
    repository: int = 0

    @property
    def any(self) -> bool:
        return bool(self.team or self.user or self.repository)


def caps_of(installation: Mapping[str, int], own: Mapping[str, int]) -> Caps:
    """What the team itself has set, else what the installation has."""
    return Caps(**{**installation, **own})


@dataclass(frozen=True, slots=True)
class Place:
    """A goal that runs or wants to: whose, and on what. None: nobody (the shell), no repository; their caps do not count it."""

    user: Any = None
    repository: Any = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A goal of the team that waits in line, for `waited` seconds."""

    goal: Any
    place: Place = Place()
    priority: int = NORMAL
    waited: float = 0.0


@dataclass(frozen=True, slots=True)
class Admission:
    """`admitted`: these may run now, in this order. `held`: in their order those that may not, with the cap that holds each."""

    admitted: tuple[Any, ...] = ()
    held: tuple[tuple[Any, str], ...] = ()


def admit(line: Sequence[Waiting], running: Sequence[Place], caps: Caps, rises_every: float) -> Admission:
    """Who of a team's line may run beside those that do. One that is held by its user's cap does not hold up another user's."""
    places, admitted, held = list(running), [], []
    for waiting in sorted(line, key=lambda w: (-urgency(w.priority, w.waited, rises_every), -w.waited)):
        cap = _cap_reached(waiting.place, places, caps)
        if cap:
            held.append((waiting.goal, cap))
        else:
            places.append(waiting.place)
            admitted.append(waiting.goal)
    return Admission(tuple(admitted), tuple(held))


def _cap_reached(wanted: Place, running: Sequence[Place], caps: Caps) -> str:
    """The name of the first cap that leaves no room; empty: there is room."""
    if caps.team and len(running) >= caps.team:
        return "team"
    for name, most in (("user", caps.user), ("repository", caps.repository)):
        key = getattr(wanted, name)
        if most and key is not None and sum(getattr(place, name) == key for place in running) >= most:
            return name
    return ""


# ---- the order at the workers


@dataclass(frozen=True, slots=True)
class Queued:
    """A run that waits for a worker: its team, its goal's priority, its own (a step's), and for how many seconds it has waited."""

    run: Any
    team: Any
    goal_priority: int = NORMAL
    priority: int = NORMAL
    waited: float = 0.0


def in_turn(queued: Sequence[Queued], rises_every: float) -> list[Any]:
    """The order in which they are claimed if nothing else comes: urgency, then teams in turns, then the step's priority, then age."""
    turns: dict[tuple[int, Any], int] = {}
    ordered = []
    first = sorted(queued, key=lambda q: (-urgency(q.goal_priority, q.waited, rises_every), -q.priority, -q.waited))
    for one in first:
        band = urgency(one.goal_priority, one.waited, rises_every), one.team
        turns[band] = turns.get(band, 0) + 1
        ordered.append(((-band[0], turns[band], -one.waited), one.run))
    return [run for _, run in sorted(ordered, key=lambda pair: pair[0])]

"""What all processes that use one service must agree on: requests per minute, whose command runs, whether the service answers at all.

`Ledger` is the agreement; `HostLedger` keeps it among the processes of one host, in a locked file. Machines that share a service each
get a part of its requests (LOCALE2B_REQUESTS_PER_MINUTE), see docs/sandboxes.md.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from ..slots import own_folder, try_lock

MINUTE = 60.0
KEPT = 4  # of a minute's requests are for ending sandboxes only
FAILURE, LOSS, OPENS_AT = 2, 3, 6  # three failures or two lost sandboxes in a row open the breaker
REST = 30.0  # seconds that an open breaker stays so; then one caller tries


class Ledger(Protocol):
    """One service's."""

    def admit(self, urgent: bool = False) -> float:
        """0: the request is counted and may be sent. Else the seconds until it is worth asking again."""

    def take_turn(self) -> int | None:
        """The right to run a command there, as a number for `end_turn`; None while somebody else has it."""

    def end_turn(self, turn: int) -> None: ...

    def resting(self, only_look: bool = False) -> float:
        """0: use the service (who asks first after a rest is the one that tries it). Else the seconds that its breaker stays open."""

    def went(self, weight: int) -> None:
        """How a call ended: 0 well, FAILURE, or LOSS."""


@dataclass
class State:
    """What the file holds. Times are monotonic seconds, the same for all processes since the host was started."""

    sent: list[float] = field(default_factory=list)
    trouble: int = 0
    rests_until: float = 0.0


# ---- PURE


def admitted(state: State, now: float, most: int) -> float:
    """Count a request if fewer than `most` went out in the last minute; else how long until one of them is a minute old."""
    state.sent = [at for at in state.sent if now - MINUTE < at <= now]
    if len(state.sent) < most:
        state.sent.append(now)
        return 0.0
    return max(state.sent[-most] + MINUTE - now, 0.05)


def rest_of(state: State, now: float, only_look: bool = False) -> float:
    """The one that is told 0 after a rest is the trial: for the others the rest begins anew."""
    if state.trouble < OPENS_AT:
        return 0.0
    if now < state.rests_until <= now + REST:
        return state.rests_until - now
    if not only_look:
        state.rests_until = now + REST
    return 0.0


def after(state: State, weight: int, now: float) -> None:
    state.trouble = state.trouble + weight if weight else 0
    if state.trouble >= OPENS_AT and weight:
        state.rests_until = now + REST


# ---- shared by a host's processes


class HostLedger:
    """`name` tells services (and keys) apart; the file lies in a private folder of this user."""

    def __init__(self, name: str, per_minute: int, folder: Path | None = None) -> None:
        self._per_minute = per_minute
        place = (folder or own_folder("locale2b")) / sha256(name.encode()).hexdigest()[:16]
        self._path, self._turn = place.with_suffix(".json"), place.with_suffix(".turn")

    def admit(self, urgent: bool = False) -> float:
        kept = 0 if urgent else min(KEPT, self._per_minute - 1)
        with self._state() as state:
            return admitted(state, time.monotonic(), self._per_minute - kept)

    def take_turn(self) -> int | None:
        return try_lock(self._turn)

    def end_turn(self, turn: int) -> None:
        os.close(turn)

    def resting(self, only_look: bool = False) -> float:
        with self._state() as state:
            return rest_of(state, time.monotonic(), only_look)

    def went(self, weight: int) -> None:
        with self._state() as state:
            after(state, weight, time.monotonic())

    @contextmanager
    def _state(self) -> Iterator[State]:
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            state = _loaded(os.pread(fd, 1 << 20, 0))
            yield state
            data = json.dumps(state.__dict__).encode()
            os.pwrite(fd, data, 0)
            os.ftruncate(fd, len(data))
        finally:
            os.close(fd)


def _loaded(data: bytes) -> State:
    """A file that was half written when the host went down counts as none."""
    try:
        value: dict[str, Any] = json.loads(data)
        return State([float(at) for at in value["sent"]], int(value["trouble"]), float(value["rests_until"]))
    except (ValueError, KeyError, TypeError):
        return State()

"""PURE: what of a goal that stops is over for certain, and since when. Facts go in, one line for each thing comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

FORCE_AFTER = timedelta(seconds=10)  # what runs has so long to stop by itself
ABANDONED = "its worker was lost, or its run was ended meanwhile"  # the error of a call in flight that others ended
QUEUED, REQUEST, SANDBOX, RESERVED = "queued runs", "model request", "sandbox", "reservations"


@dataclass(frozen=True, slots=True)
class RunFact:
    """A run that was queued or worked on when cancel was asked, or later. `leased`: its worker may still tell how it ended."""

    name: str
    worker: str
    queued: bool = False
    running: bool = False
    leased: bool = False
    ended_at: datetime | None = None
    sandbox_gone_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CallFact:
    """A model call that was in flight when cancel was asked. `abandoned`: others ended it, its worker never said so."""

    name: str
    ended_at: datetime | None
    abandoned: bool = False


@dataclass(frozen=True, slots=True)
class Confirmation:
    """`confirmed_at` None: not yet; and if it does not wait, nobody is left who could confirm it."""

    what: str
    subject: str
    confirmed_at: datetime | None
    waits: bool = False


def confirmations(
    asked_at: datetime, runs: Sequence[RunFact], calls: Sequence[CallFact], reserved: int
) -> list[Confirmation]:
    """Everything that must be over before the goal is: its queued runs, model requests, sandboxes, reservations."""
    never_begun = [run for run in runs if not run.worker]
    return [
        *_queued(asked_at, never_begun),
        *(_request(call) for call in calls),
        *(_sandbox(run) for run in runs if run.worker),
        _reserved(asked_at, calls, reserved),
    ]


def holds(found: Sequence[Confirmation]) -> bool:
    """Must the goal wait? Not for what nobody can confirm any more: a dead worker's lease has ended, or a person forced it."""
    return any(one.waits for one in found)


def unconfirmed(found: Sequence[Confirmation]) -> int:
    return sum(one.confirmed_at is None for one in found)


def may_force(asked_at: datetime | None, now: datetime) -> bool:
    return asked_at is not None and now - asked_at >= FORCE_AFTER


def _queued(asked_at: datetime, runs: Sequence[RunFact]) -> list[Confirmation]:
    if not runs:
        return []
    still = [run for run in runs if run.queued]
    ended = max((run.ended_at for run in runs if run.ended_at), default=asked_at)
    return [Confirmation(QUEUED, ", ".join(run.name for run in runs), None if still else ended, waits=bool(still))]


def _request(call: CallFact) -> Confirmation:
    return Confirmation(REQUEST, call.name, None if call.abandoned else call.ended_at, waits=call.ended_at is None)


def _sandbox(run: RunFact) -> Confirmation:
    waits = run.running or (run.leased and run.sandbox_gone_at is None)
    return Confirmation(SANDBOX, f"{run.name} on {run.worker}", None if run.running else run.sandbox_gone_at, waits)


def _reserved(asked_at: datetime, calls: Sequence[CallFact], reserved: int) -> Confirmation:
    if reserved:
        return Confirmation(RESERVED, f"{reserved} tokens", None, waits=True)
    return Confirmation(
        RESERVED, "all tokens", max((call.ended_at for call in calls if call.ended_at), default=asked_at)
    )

"""A run waits for its turn at a provider: in its place for a while, and everybody sees it; given back where that takes long."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from django.db.models.functions import Now

from agents.chain import Pace
from agents.errors import Cause, ModelBusy, Transient

from .active import ActiveRun
from .journal import release_connection
from .limiter import limiter
from .models import Run

PATIENCE = 60.0  # seconds that a run waits in its place, with its sandbox
HASTE = 5.0  # the same where another model could be asked
SEEN = 2.0  # seconds after which its row says what it waits for
GLANCE = 0.25  # seconds between two looks at whether the run was stopped


@dataclass
class Turn:
    """`used`: tokens, as soon as they are known."""

    used: int | None = None


@contextmanager
def in_turn(active: ActiveRun, pace: Pace | None, tokens: int, *, haste: bool = False) -> Iterator[Turn]:
    """Within, the call may be made. Raises ModelBusy where it would have to wait longer than a run should, Cancelled, Fenced."""
    turn = Turn()
    if pace is None:
        yield turn
        return
    ticket = uuid.uuid4().hex
    _wait(active, pace, ticket, tokens, HASTE if haste else PATIENCE)
    try:
        yield turn
    except Transient as error:
        if error.cause == Cause.RATE_LIMITED and error.retry_after:
            limiter.rest(pace, error.retry_after)
        raise
    finally:
        limiter.done(pace, ticket, turn.used)


def _wait(active: ActiveRun, pace: Pace, ticket: str, tokens: int, patience: float) -> None:
    began, seen = time.monotonic(), False
    while wait := limiter.take(pace, ticket, tokens):
        waited = time.monotonic() - began
        gives_up = waited + wait > patience
        if gives_up or (not seen and waited + wait > SEEN):
            _show(active.run, str(pace), wait)
            seen = True
        if gives_up:
            raise ModelBusy(f"waiting for {pace}", retry_after=wait, cause=Cause.RATE_LIMITED)
        _sleep(active, wait)
    if seen:
        _show(active.run, "", 0.0)


def _sleep(active: ActiveRun, seconds: float) -> None:
    """No connection is held. Raises when the run is stopped."""
    ends = time.monotonic() + seconds
    while (left := ends - time.monotonic()) > 0:
        active.check()
        time.sleep(min(left, GLANCE))
    active.check()


def _show(run: Run, what: str, seconds: float) -> None:
    """In the run's row, for pages; a take-over's row is left alone."""
    mine = Run.objects.filter(pk=run.pk, fence=run.fence)
    mine.update(waiting_for=what[:200], waiting_until=Now() + timedelta(seconds=seconds) if what else None)
    release_connection()

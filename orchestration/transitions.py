"""THE place where a status changes: a conditional UPDATE on the old status, and an Event in the same transaction.

    with locked(goal_id) as change:                      # one transaction that holds the goal's row
        change.move(run, RunStatus.SUCCEEDED)            # False: someone was faster
        change.note("plan.recorded", "plan r2")          # an event that is no move

Events are numbered without gaps: they are collected, and written once at the end under the lock. What is to happen after the commit
(waking a worker) is collected the same way.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from django.db import OperationalError, connection, transaction
from django.db.models import F
from django.utils import timezone

from . import dispatch
from .errors import IllegalMove, NotFound
from .models import Breaker, Event, Goal, Rollout, Run, Step
from .states import MOVES, terminal

P = ParamSpec("P")
T = TypeVar("T")
Row = Goal | Rollout | Step | Run
TRANSACTION_TRIES = 3


class Change:
    """What one transaction does to one goal."""

    goal: Goal

    def __init__(self, by: str) -> None:
        self.by = by
        self.wanted: list[Run] = []
        self._events: list[Event] = []
        self._moved: list[tuple[Row, dict[str, Any]]] = []

    def move(self, row: Row, to: str, *, reason: str = "", data: dict[str, Any] | None = None, **fields: Any) -> bool:
        """Change `row`'s status to `to`, and `fields` with it. False: it had left its old status already; nothing is changed.

        A run is only moved by its fence as it was read. Raises IllegalMove for a move that the table `states.MOVES` does not have.
        """
        noun = row._meta.model_name or ""
        old = str(row.status)
        if to not in MOVES[noun][old]:
            raise IllegalMove(f"{subject(row)} cannot go from {old} to {to}")
        if "ended_at" not in fields and to in terminal(noun):
            fields["ended_at"] = timezone.now()
        if reason and noun != "run":
            fields["reason"] = reason
        fence = {"fence": row.fence} if isinstance(row, Run) else {}
        if not type(row)._default_manager.filter(pk=row.pk, status=old, **fence).update(status=to, **fields):
            return False
        self._moved.append((row, {name: getattr(row, name) for name in ("status", *fields)}))
        for name, value in {"status": to, **fields}.items():
            setattr(row, name, value)
        told = {"id": str(row.pk), **({"fence": row.fence} if isinstance(row, Run) else {}), **(data or {})}
        self.note(f"{noun}.status", subject(row), old=old, new=to, reason=reason, data=told)
        return True

    def note(
        self,
        kind: str,
        about: str = "",
        *,
        old: str = "",
        new: str = "",
        reason: str = "",
        data: dict[str, Any] | None = None,
    ) -> None:
        """Remember an event; it is written when the transaction ends."""
        self._events.append(
            Event(
                goal=self.goal,
                kind=kind,
                subject=about[:80],
                old=old,
                new=new,
                by=self.by,
                reason=reason,
                data=data or {},
            )
        )

    def wake(self, run: Run) -> None:
        """After the commit, tell a worker that this run is queued."""
        self.wanted.append(run)

    def write(self) -> bool:
        """Number the collected events and insert them: two statements, however many they are. False: there are none."""
        if not self._events:
            return False
        Goal.objects.filter(pk=self.goal.pk).update(event_seq=F("event_seq") + len(self._events))
        last = Goal.objects.values_list("event_seq", flat=True).get(pk=self.goal.pk)
        for seq, event in enumerate(self._events, last - len(self._events) + 1):
            event.seq = seq
        Event.objects.bulk_create(self._events)
        self._events = []
        return True

    @contextmanager
    def whole(self) -> Iterator[None]:
        """What is done within counts as a whole: if it breaks, rows, events and wake-ups are as before. The rows in the caller's
        hands too, so that the same transaction can be tried again with them.
        """
        marks = len(self._events), len(self.wanted), len(self._moved)
        try:
            with transaction.atomic():
                yield
        except BaseException:
            del self._events[marks[0] :], self.wanted[marks[1] :]
            while len(self._moved) > marks[2]:
                row, was = self._moved.pop()
                for name, value in was.items():
                    setattr(row, name, value)
            raise


def move_breaker(row: Breaker, to: str, **fields: Any) -> bool:
    """A breaker belongs to no goal, so there is no event. False: it had left its old status already; nothing is changed."""
    if to not in MOVES["breaker"][row.status]:
        raise IllegalMove(f"the breaker of {row} cannot go from {row.status} to {to}")
    return bool(Breaker.objects.filter(pk=row.pk, status=row.status).update(status=to, **fields))


def subject(row: Row) -> str:
    """How an event names a row: people read it, and pages find the row by `data`."""
    if isinstance(row, Run):
        return f"{row.kind} run {str(row.pk)[:8]}"
    return str(row)


@contextmanager
def locked(goal_id: Any, *, by: str = "engine") -> Iterator[Change]:
    """One transaction on one goal. Lock order: Goal → Rollout → Step → Run → Budget; never two goals in one transaction."""
    change = Change(by)
    with change.whole():
        goal = Goal.objects.select_for_update(no_key=True).filter(pk=goal_id).first()
        if goal is None:
            raise NotFound(f"there is no goal {goal_id}")
        change.goal = goal
        yield change
        if change.write():
            transaction.on_commit(lambda: dispatch.ring(str(goal_id)))
        if change.wanted:
            wanted = tuple((str(run.pk), str(run.kind)) for run in change.wanted)
            transaction.on_commit(lambda: dispatch.wake(wanted))


def repeatable(function: Callable[P, T]) -> Callable[P, T]:
    """A deadlock, a lock timeout or a serialization failure repeats the *transaction*, never a call to the outer world."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        for attempt in range(1, TRANSACTION_TRIES + 1):
            try:
                return function(*args, **kwargs)
            except OperationalError:
                if attempt == TRANSACTION_TRIES or connection.in_atomic_block:
                    raise
                connection.close_if_unusable_or_obsolete()
                time.sleep(0.05 * attempt)
        raise AssertionError("unreachable")

    return wrapper

"""THE place where a status changes: a conditional UPDATE on the old status, and an Event in the same transaction.

    with locked(goal_id) as change:                      # one transaction that holds the goal's row
        change.move(run, RunStatus.SUCCEEDED)            # False: someone was faster
        change.note("plan.recorded", "plan r2")          # an event that is no move

Events are numbered without gaps: they are collected, and written once at the end under the lock. What is to happen after the commit
(waking a worker) is collected the same way. So are the changes of rows that were read under the lock (`hold`) and new rows (`add`):
nobody else can change them meanwhile, and together they cost one statement (see `writing`). Whatever else is asked of the
database before the end makes them be written first, so no reader ever misses them.

Each transaction that writes anything raises the goal's `version`. So whoever has read a goal's rows can decide on them later, without
reading them again and without a lock (`compared`): what was decided is written if the version is still the same.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from django.db import OperationalError, connection, transaction
from django.db.models import Model
from django.utils import timezone

from . import dispatch
from .errors import IllegalMove, NotFound
from .models import Approval, Breaker, Call, Event, Goal, Question, Rollout, Run, Step
from .prepared import Prepared, plain
from .states import MOVES, CallStatus, terminal
from .writing import Plain, Statement, Writes

P = ParamSpec("P")
T = TypeVar("T")
Row = Goal | Rollout | Step | Run | Approval | Question
TRANSACTION_TRIES = 3
NO_WRITE = ("SELECT", "SAVEPOINT", "RELEASE", "ROLLBACK")
NOT_LOADED: Any = object()  # a column that was deferred when its row was read
_is_last_try: ContextVar[bool] = ContextVar("_is_last_try", default=False)


class Outdated(Exception):
    """What is in hand of a goal is not as it is now, or is not enough: read it again, under the lock."""


class Spoilt(RuntimeError):
    """A part broke the whole transaction: a statement failed in it before it had a savepoint. Made again with one, it does not."""


class Change:
    """What one transaction does to one goal."""

    goal: Goal

    def __init__(self, by: str) -> None:
        self.by = by
        self.wanted: list[Run] = []
        self.queued: list[Run] = []  # runs that were added, and wait for nothing
        self._events: list[Told] = []
        self._moved: list[tuple[Model, dict[str, Any]]] = []
        self._held: dict[int, Model] = {}
        self._layers = [Layer()]
        self._writing = False
        self._wrote = False
        self.touched = False  # something was written that was not collected here, so that rows in hand may be old

    def hold(self, *rows: Model) -> None:
        """These rows in hand were read under the goal's lock: what is changed on them is written at the end."""
        self._held.update((id(row), row) for row in rows)

    def add(self, row: Model, *, or_leave: bool = False) -> None:
        """A new row, written at the end. `or_leave`: where its key is taken already, that row stands."""
        self._layers[-1].writes.add(row, or_leave=or_leave)
        self.hold(row)

    def set(self, row: Model, **fields: Any) -> None:
        """Change a held row's other columns; its status only ever changes by `move`."""
        assert id(row) in self._held
        assert "status" not in fields
        self._put(row, {}, fields)

    def _put(self, row: Model, guard: dict[str, Any], fields: dict[str, Any]) -> None:
        self._layers[-1].writes.change(row, guard, **fields)
        self._remember(row, fields)

    def _remember(self, row: Model, fields: dict[str, Any]) -> None:
        columns = [row._meta.get_field(name).attname for name in fields]  # type: ignore[union-attr]
        self._moved.append((row, {column: row.__dict__.get(column, NOT_LOADED) for column in columns}))
        for name, value in fields.items():
            setattr(row, name, value)

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
        if reason and noun not in ("run", "question"):
            fields["reason"] = reason
        fence = {"fence": row.fence} if isinstance(row, Run) else {}
        if id(row) in self._held:
            self._put(row, {"status": old, **fence}, {"status": to, **fields})
        elif type(row)._default_manager.filter(pk=row.pk, status=old, **fence).update(status=to, **fields):
            self._remember(row, {"status": to, **fields})
        else:
            return False
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
        self._events.append(Told(kind, about[:80], old, new, reason, data or {}, timezone.now()))

    def wake(self, run: Run) -> None:
        """After the commit, tell a worker that this run is queued."""
        self.wanted.append(run)

    def unwake(self, run: Run) -> None:
        """Whoever was to be woken for it has it already."""
        self.wanted = [wanted for wanted in self.wanted if wanted is not run]

    def write(self) -> bool:
        """Number the collected events, raise the version, and write all that was collected. False: there are no events."""
        told = bool(self._events)
        if told or self.touched or self._wrote or self._layers[0].writes:
            self._number()
        self.flush()
        return told

    def write_if_unchanged(self, *runs: Any) -> None:
        """The same without a lock, if the goal's version is still what it was when its rows were read. Raises Outdated if it is not.

        `runs`: two whose calls are all answered; if they are not, somebody has to look at them.
        """
        before = self.goal.version
        self._number()
        if not self._layers[0].writes.flush_if(self.goal, {"version": before}, _all_answered(*runs)):
            raise Outdated("somebody has changed it")

    def _number(self) -> None:
        first = self.goal.event_seq + 1
        self.set(self.goal, version=self.goal.version + 1, event_seq=self.goal.event_seq + len(self._events))
        fixed = {"goal_id": self.goal.pk, "by": self.by}
        rows = (Plain(Event, fixed | {"seq": seq} | told.columns()) for seq, told in enumerate(self._events, first))
        self._layers[0].writes.add_plain(rows)
        self._events = []

    def flush(self) -> None:
        """Write what was collected so far. A part that has not ended yet gets its savepoint here, where it first needs one."""
        self._writing = True
        try:
            for layer in self._layers:
                if layer is not self._layers[0] and layer.savepoint is None:
                    layer.savepoint = transaction.savepoint()
                if layer.writes:
                    self._wrote = True
                    layer.writes.flush()
        finally:
            self._writing = False

    def _before_each(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        """Whatever else is asked of the database sees what was collected; what is written in a part is written in its savepoint."""
        if not self._writing:
            self.touched = self.touched or not sql.startswith(NO_WRITE)
            unsaved = self._layers[-1] is not self._layers[0] and self._layers[-1].savepoint is None
            if any(layer.writes for layer in self._layers) or (unsaved and not sql.startswith("SELECT")):
                self.flush()
        return execute(sql, params, many, context)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """What is done within counts as a whole: if it breaks, rows, events and wake-ups are as before. The rows in the caller's
        hands too, so that the same transaction can be tried again with them.
        """
        marks = len(self._events), len(self.wanted), len(self.queued), len(self._moved)
        try:
            yield
        except BaseException:
            del self._events[marks[0] :], self.wanted[marks[1] :], self.queued[marks[2] :]
            while len(self._moved) > marks[3]:
                _restore(*self._moved.pop())
            raise

    @contextmanager
    def part(self) -> Iterator[None]:
        """A whole within the transaction: if it breaks, what came before it stays. Costs a savepoint only where something of it
        has to be written before it ends. Raises Spoilt where it would have needed one earlier: `repeatable` sees to that.
        """
        layer = Layer()
        self._layers.append(layer)
        try:
            if _is_last_try.get():
                self.flush()
            with self.whole():
                yield
        except BaseException as error:
            self._layers.remove(layer)
            if layer.savepoint is not None:
                transaction.set_rollback(False)
                self._unhindered(transaction.savepoint_rollback, layer.savepoint)
            elif _is_spoilt() and not isinstance(error, OperationalError):
                raise Spoilt(f"{type(error).__name__}: {error}") from error
            raise
        self._layers.remove(layer)
        if layer.savepoint is not None:
            self._unhindered(transaction.savepoint_commit, layer.savepoint)
        self._layers[-1].writes.absorb(layer.writes)

    def _unhindered(self, do: Callable[[str], None], savepoint: str) -> None:
        self._writing = True
        try:
            do(savepoint)
        finally:
            self._writing = False


@dataclass(slots=True)
class Told:
    """An event that has no number yet."""

    kind: str
    subject: str
    old: str
    new: str
    reason: str
    data: dict[str, Any]
    at: datetime

    def columns(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


class Layer:
    """What a transaction, or a part of it, has collected."""

    def __init__(self) -> None:
        self.writes = Writes()
        self.savepoint: str | None = None


def _is_spoilt() -> bool:
    """Does the database refuse whatever else is asked in this transaction? (PostgreSQL does, after a statement that failed.)"""
    if connection.vendor != "postgresql" or connection.connection is None:
        return connection.needs_rollback
    return connection.needs_rollback or connection.connection.info.transaction_status.name == "INERROR"


def _restore(row: Model, was: dict[str, Any]) -> None:
    for column, value in was.items():
        if value is NOT_LOADED:
            row.__dict__.pop(column, None)
        else:
            setattr(row, column, value)


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


_locked_goal = Prepared(lambda goal: Goal.objects.select_for_update(no_key=True).filter(pk=goal).order_by(), UUID)


@contextmanager
def locked(goal_id: Any, *, by: str = "engine", savepoint: bool = True) -> Iterator[Change]:
    """One transaction on one goal. Lock order: Goal → Rollout → Step → Run → Budget; never two goals in one transaction.

    `savepoint`: where the caller has a transaction, what breaks here leaves it usable. Not for a caller that ends with us.
    """
    change = Change(by)
    with change.whole(), transaction.atomic(savepoint=savepoint), connection.execute_wrapper(change._before_each):
        goal = _locked_goal.one(goal_id if isinstance(goal_id, UUID) else UUID(str(goal_id)))
        if goal is None:
            raise NotFound(f"there is no goal {goal_id}")
        change.goal = goal
        change.hold(goal)
        yield change
        _tell(change, rings=change.write())


@contextmanager
def compared(goal: Goal, *runs: Any, by: str) -> Iterator[Change]:
    """What is decided on rows in hand, and written at the end if the goal still has the version that they were read with.

    Nothing is locked, and nothing may be asked meanwhile. Raises Outdated, with the rows as they were and nothing written; it is for
    the caller to do it again under the lock. `runs`: see `Change.write_if_unchanged`.
    """
    if connection.in_atomic_block:
        raise Outdated("the caller's transaction is not ours to end")
    change = Change(by)
    change.goal = goal
    change.hold(goal)
    with change.whole():
        with connection.execute_wrapper(_refuse):
            yield change
        change.write_if_unchanged(*runs)
    _tell(change, rings=True)


def _refuse(execute: Callable[..., Any], sql: str, *_: Any) -> Any:
    raise Outdated(f"more has to be asked than is in hand: {sql[:60]}")


def _all_answered(*runs: UUID) -> Statement:
    """A condition: none of these runs has a call in flight."""
    calls = ", ".join(["%s"] * len(runs))
    return (
        f'NOT EXISTS (SELECT 1 FROM "{Call._meta.db_table}" WHERE "run_id" IN ({calls}) AND "status" = %s)',  # noqa: S608 - our model's name
        [*(plain(run) for run in runs), CallStatus.INTENT.value],
    )


def _tell(change: Change, *, rings: bool) -> None:
    """After the commit."""
    if rings:
        transaction.on_commit(lambda: dispatch.ring(str(change.goal.pk)))
    if change.wanted:
        wanted = tuple((str(run.pk), str(run.kind)) for run in change.wanted)
        transaction.on_commit(lambda: dispatch.wake(wanted))


def repeatable(function: Callable[P, T]) -> Callable[P, T]:
    """A deadlock, a lock timeout or a serialization failure repeats the *transaction*, never a call to the outer world.

    The last try is a careful one: it has a savepoint before the decision, so that what was recorded stays however that fails.
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        for attempt in range(1, TRANSACTION_TRIES):
            try:
                return function(*args, **kwargs)
            except Spoilt:
                if connection.in_atomic_block:
                    raise
                break
            except OperationalError:
                if connection.in_atomic_block:
                    raise
                connection.close_if_unusable_or_obsolete()
                time.sleep(0.05 * attempt)
        token = _is_last_try.set(True)
        try:
            return function(*args, **kwargs)
        finally:
            _is_last_try.reset(token)

    return wrapper


def is_repeated(error: Exception) -> bool:
    """Will the transaction be made again that this has broken?"""
    return isinstance(error, Spoilt | Outdated) or (isinstance(error, OperationalError) and not _is_last_try.get())

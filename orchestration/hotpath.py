"""What happens for every single call of an agent, as few set-based statements: intent, settle, heartbeat.

Order of the rows in each transaction: Run (fence and lease), a Call that ends, Budget, a Call that begins. The goal's own row is not
touched here: events are for changes of state, never for calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, Q, QuerySet
from django.db.models.functions import Greatest, Now
from django.utils import timezone

from agents.errors import BudgetExceeded, Cancelled, Fenced

from .budget import Limits, Used, cap_reached
from .cancelling import ABANDONED
from .models import Budget, Call, Goal, Run
from .prepared import PreparedUpdate
from .states import CallKind, CallStatus, RunStatus
from .transitions import repeatable
from .writing import Statement, chained, insert_of, together, update_by, update_of

TAKEN = "{run} was taken over or ended meanwhile"


class Unheard(Exception):
    """People have sent the goal a message that this run does not know of."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where in a run a call stands: `turn` counts model calls, `index` what was done after one (0: the model call itself)."""

    turn: int
    index: int


@dataclass(frozen=True, slots=True)
class Spent:
    """What a call really used, in tokens."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0

    @property
    def total(self) -> int:
        return self.prompt + self.completion


@repeatable
def begin_call(
    run: Run,
    at: Position,
    kind: CallKind,
    request_hash: str,
    request: Mapping[str, Any],
    tokens: int = 0,
    heard: int = 0,
) -> int:
    """Record the intent and reserve its price; the id of the Call. Nothing is recorded when the gate is closed or a cap is reached.

    `heard`: how many of people's messages to the goal the run knows of. Raises Fenced, Cancelled (the goal was paused, cancelled or
    has ended), BudgetExceeded, or Unheard before a model call that would be made without the newest message.
    """
    call = Call(
        run_id=run.pk,
        turn=at.turn,
        index=at.index,
        kind=kind,
        fence=run.fence,
        request_hash=request_hash,
        request=request,
        reserved_tokens=tokens,
    )
    counts = {"calls": int(kind == CallKind.LLM), "commands": int(kind == CallKind.COMMAND), "tokens": tokens}
    (renewed, reserved), key = chained(
        [_renewal(run), _reservation(run, **counts, heard=heard)], partial(_insert, call)
    )
    if not renewed:
        raise Fenced(TAKEN.format(run=run))
    if not reserved:
        _explain_refusal(run, **counts, heard=heard)
    return key


@repeatable
def settle_call(run: Run, call_id: int, *, spent: Spent | None = None, reserved: int = 0, **fields: Any) -> None:
    """The answer, what it cost, and a renewed lease. Raises Fenced when the run belongs to somebody else by now."""
    used = spent or Spent()
    tokens = {"prompt_tokens": used.prompt, "completion_tokens": used.completion, "cached_tokens": used.cached}
    ended = update_of(Call, {"pk": call_id}, {"status": CallStatus.DONE, **fields, "ended_at": Now(), **tokens})
    paid = [_payment(run.goal_id, reserved, used.total)] if reserved or used.total else []
    (renewed, *_), _ = chained([_renewal(run), ended, *paid])
    if not renewed:
        raise Fenced(TAKEN.format(run=run))


@repeatable
def lose_call(run: Run, call_id: int, reserved: int, error: str) -> None:
    """A call in flight was broken off; whether it was billed is unknown, so what was reserved counts as spent. Needs no fence."""
    with transaction.atomic():
        changed = Call.objects.filter(pk=call_id, status=CallStatus.INTENT)
        if changed.update(status=CallStatus.UNKNOWN, ended_at=Now(), error=error[:2000]):
            _settle(run.goal_id, reserved, reserved)


def lose_abandoned_calls(goal: Goal) -> int:
    """Intents of runs that were lost or ended by others will never be answered; they count as spent. How many there were.

    Part of the caller's transaction, which holds the goal: nothing can be begun for such a run any more.
    """
    in_flight = Call.objects.filter(run__goal=goal, status=CallStatus.INTENT)
    abandoned = in_flight.exclude(run__status=RunStatus.RUNNING, fence=F("run__fence"))
    lost = dict(abandoned.select_for_update(of=("self",), no_key=True).values_list("pk", "reserved_tokens"))
    if lost:
        Call.objects.filter(pk__in=lost).update(status=CallStatus.UNKNOWN, ended_at=Now(), error=ABANDONED)
        _settle(goal.pk, sum(lost.values()), sum(lost.values()))
    return len(lost)


@repeatable
def note_file(run: Run, at: Position, request_hash: str, request: Mapping[str, Any], **fields: Any) -> None:
    """A file that was read or written: one row, after the fact (a read changes nothing, a half-done write is thrown away)."""
    call = Call(
        run_id=run.pk,
        turn=at.turn,
        index=at.index,
        kind=CallKind.FILE,
        status=CallStatus.DONE,
        fence=run.fence,
        request_hash=request_hash,
        request=request,
        **fields,
    )
    (renewed, reserved), _ = chained([_renewal(run), _reservation(run)], partial(_insert, call))
    if not renewed:
        raise Fenced(TAKEN.format(run=run))
    if not reserved:
        _explain_refusal(run)


def supersede(run: Run, at: Position) -> int:
    """The work takes another way than the record: what was recorded from here on is kept for reading, and not used."""
    later = Q(turn__gt=at.turn) | Q(turn=at.turn, index__gte=at.index)
    recorded = Call.objects.filter(later, run_id=run.pk, status=CallStatus.DONE)
    return recorded.update(status=CallStatus.SUPERSEDED)


def _insert(call: Call, only_if: str) -> Statement:
    return insert_of([call], only_if=only_if)


def _renewal(run: Run) -> Statement:
    """The fence, checked by the same statement that extends the lease."""
    mine = {"pk": run.pk, "fence": run.fence, "status": RunStatus.RUNNING}
    return update_of(Run, mine, {"lease_until": Now() + timedelta(seconds=settings.LEASE_SECONDS)})


def _reservation(run: Run, *, calls: int = 0, commands: int = 0, tokens: int = 0, heard: int = 0) -> Statement:
    """One conditional UPDATE: the gate is open, no cap is passed, and a model call knows of every message."""
    if tokens:
        return _reserve_tokens(run.goal_id, calls, commands, tokens, heard)
    return _reserve_counts(run.goal_id, calls, commands)


def _room(goal: Any, calls: int, commands: int) -> QuerySet[Budget]:
    in_time = Goal.objects.filter(Q(deadline_at__isnull=True) | Q(deadline_at__gt=Now()), pk=goal)
    return Budget.objects.filter(
        Exists(in_time),  # no join: a joined UPDATE would look at the numbers of its snapshot, not of now
        goal_id=goal,
        open=True,
        calls__lte=F("max_calls") - calls,
        commands__lte=F("max_commands") - commands,
    )


_reserve_counts = PreparedUpdate(
    lambda goal, calls, commands: update_by(
        _room(goal, calls, commands), calls=F("calls") + calls, commands=F("commands") + commands
    ),
    *(UUID, int, int),
)
_reserve_tokens = PreparedUpdate(
    lambda goal, calls, commands, tokens, heard: update_by(
        _room(goal, calls, commands).filter(
            max_tokens__gte=F("spent_tokens") + F("reserved_tokens") + tokens, messages__lte=heard
        ),
        calls=F("calls") + calls,
        commands=F("commands") + commands,
        reserved_tokens=F("reserved_tokens") + tokens,
    ),
    *(UUID, int, int, int, int),
)


def _explain_refusal(run: Run, *, calls: int = 0, commands: int = 0, tokens: int = 0, heard: int = 0) -> None:
    budget = Budget.objects.get(goal_id=run.goal_id)
    goal = Goal.objects.only("status", "deadline_at").get(pk=run.goal_id)
    if not budget.open:
        raise Cancelled(f"the goal is {goal.status}: nothing more is begun")
    if goal.deadline_at is not None and goal.deadline_at <= timezone.now():
        raise BudgetExceeded(f"its {budget.max_seconds} seconds are used", cap="seconds")
    if tokens and budget.messages > heard:
        raise Unheard
    used = Used(
        calls=budget.calls + calls,
        tokens=budget.spent_tokens + budget.reserved_tokens + tokens,
        commands=budget.commands + commands,
        seconds=0,
    )
    over = [name for name in ("calls", "tokens", "commands") if getattr(used, name) > getattr(budget, f"max_{name}")]
    cap = over[0] if over else "calls"
    raise BudgetExceeded(_told(budget, cap, tokens), cap=cap)


def _told(budget: Budget, cap: str, tokens: int) -> str:
    if cap == "tokens":
        left = budget.max_tokens - budget.spent_tokens - budget.reserved_tokens
        return f"the next model call may need {tokens} tokens, and {max(left, 0)} of {budget.max_tokens} are left"
    limits = Limits(budget.max_calls, budget.max_tokens, budget.max_commands, budget.max_seconds)
    return cap_reached(limits, Used(budget.calls, budget.spent_tokens, budget.commands, 0))


def _settle(goal_id: Any, reserved: int, used: int) -> None:
    together([_payment(goal_id, reserved, used)])


def _payment(goal_id: Any, reserved: int, used: int) -> Statement:
    """Reserved becomes spent. A provider that bills more than was reserved is booked as overrun too."""
    return _pay(goal_id, reserved, used, max(used - reserved, 0))


_pay = PreparedUpdate(
    lambda goal, reserved, used, over: update_by(
        Budget.objects.filter(pk=goal),
        reserved_tokens=Greatest(F("reserved_tokens") - reserved, 0),
        spent_tokens=F("spent_tokens") + used,
        overrun_tokens=F("overrun_tokens") + over,
    ),
    *(UUID, int, int, int),
)

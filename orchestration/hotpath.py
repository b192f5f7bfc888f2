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

from agents.errors import BudgetExceeded, Cancelled, Fenced

from .allotments import draw
from .budget import Limits, Used, cap_reached
from .cancelling import ABANDONED
from .models import Budget, Call, Goal, Run
from .prepared import PreparedUpdate
from .pricing import Price, in_usd, usd
from .states import CallKind, CallStatus, RunStatus
from .transitions import repeatable
from .writing import Statement, chained, insert_of, together, update_by, update_of

TAKEN = "{run} was taken over or ended meanwhile"
UNKNOWN_PRICE = (
    "nobody knows the price of its model, so its limit in USD, or its team's, cannot be kept: give a limit of tokens beside it "
    "(--max-tokens), or set the price (manage.py price set)"
)


class RoomTaken(BudgetExceeded):
    """What is left of the goal's limit is set aside for calls in flight: as soon as they are settled there may be room."""


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
    *,
    price: Price | None = None,
    micro_usd: int = 0,
    steps: int = 0,
) -> int:
    """Record the intent and reserve its price; the id of the Call. Nothing is recorded when the gate is closed or a cap is reached.

    `heard`: how many of people's messages to the goal the run knows of. `price` None: nobody knows what a model call costs; else
    `micro_usd` is the most that this one may. `steps`: 1 for what begins an attempt at a step.

    Raises Fenced, Cancelled (the goal was paused, cancelled or has ended), BudgetExceeded, or Unheard before a model call that would
    be made without the newest message.
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
        reserved_micro_usd=None if price is None else micro_usd,
        price=None if price is None else price.told(),
    )
    asked = Asked(int(kind == CallKind.LLM), int(kind == CallKind.COMMAND), tokens, price is not None, micro_usd, steps)
    return _insert_reserved(run, call, asked, heard)


@repeatable
def settle_call(
    run: Run,
    call_id: int,
    *,
    spent: Spent | None = None,
    reserved: int = 0,
    price: Price | None = None,
    micro_usd: int = 0,
    **fields: Any,
) -> None:
    """The answer, what it cost, and a renewed lease. Raises Fenced when the run belongs to somebody else by now, and BudgetExceeded
    (all of it is booked) when more was billed than `micro_usd`, which was reserved, for a goal with a limit in USD.
    """
    used = spent or Spent()
    tokens = {"prompt_tokens": used.prompt, "completion_tokens": used.completion, "cached_tokens": used.cached}
    billed = 0 if price is None else price.of(used.prompt, used.completion, used.cached)
    cost = {} if price is None else {"cost": usd(billed)}
    ended = update_of(Call, {"pk": call_id}, {"status": CallStatus.DONE, **fields, "ended_at": Now(), **tokens, **cost})
    unpriced = int(price is None and used.total > 0)
    paid = [_payment(run.goal_id, reserved, used.total, micro_usd, billed, unpriced)] if reserved or used.total else []
    (renewed, *_), _ = chained([_renewal(run), ended, *paid])
    if not renewed:
        raise Fenced(TAKEN.format(run=run))
    if billed > micro_usd and price is not None:
        _stop_overrun(run.goal_id, micro_usd, billed)


@repeatable
def lose_call(
    run: Run, call_id: int, reserved: int, error: str, *, price: Price | None = None, micro_usd: int = 0
) -> None:
    """A call in flight was broken off; whether it was billed is unknown, so what was reserved counts as spent. Needs no fence."""
    cost = None if price is None else usd(micro_usd)
    with transaction.atomic():
        changed = Call.objects.filter(pk=call_id, status=CallStatus.INTENT)
        if changed.update(status=CallStatus.UNKNOWN, ended_at=Now(), error=error[:2000], cost=cost):
            unpriced = int(price is None and reserved > 0)
            together([_payment(run.goal_id, reserved, reserved, micro_usd, micro_usd, unpriced)])


def lose_abandoned_calls(goal: Goal) -> int:
    """Intents of runs that were lost or ended by others will never be answered; they count as spent. How many there were.

    Part of the caller's transaction, which holds the goal: nothing can be begun for such a run any more.
    """
    in_flight = Call.objects.filter(run__goal=goal, status=CallStatus.INTENT)
    abandoned = in_flight.exclude(run__status=RunStatus.RUNNING, fence=F("run__fence"))
    columns = ("pk", "reserved_tokens", "reserved_micro_usd")
    lost = list(abandoned.select_for_update(of=("self",), no_key=True).values_list(*columns))
    if lost:
        keys = [pk for pk, _, _ in lost]
        Call.objects.filter(pk__in=keys).update(status=CallStatus.UNKNOWN, ended_at=Now(), error=ABANDONED)
        for pk, _, micro in lost:
            if micro is not None:
                Call.objects.filter(pk=pk).update(cost=usd(micro))
        tokens, money = sum(reserved for _, reserved, _ in lost), sum(micro or 0 for _, _, micro in lost)
        unpriced = sum(reserved > 0 and micro is None for _, reserved, micro in lost)
        together([_payment(goal.pk, tokens, tokens, money, money, unpriced)])
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
    _insert_reserved(run, call, Asked(), 0)


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


@dataclass(frozen=True, slots=True)
class Asked:
    """What a call wants of its goal's budget. `priced` False: nobody knows what it costs."""

    calls: int = 0
    commands: int = 0
    tokens: int = 0
    priced: bool = False
    micro_usd: int = 0
    steps: int = 0


def _insert_reserved(run: Run, call: Call, asked: Asked, heard: int) -> int:
    """The id of the Call. Again when what stood in the way is gone before it could be told: a call in flight beside it was settled."""
    while True:
        (renewed, reserved), key = chained([_renewal(run), _reservation(run, asked, heard)], partial(_insert, call))
        if not renewed:
            raise Fenced(TAKEN.format(run=run))
        if reserved:
            return key
        _explain_refusal(run, asked, heard)


def _reservation(run: Run, asked: Asked, heard: int) -> Statement:
    """One conditional UPDATE: the gate is open, no cap is passed, and a model call knows of every message."""
    if not asked.tokens:
        return _reserve_counts(run.goal_id, asked.calls, asked.commands)
    counts = (run.goal_id, asked.calls, asked.commands, asked.tokens, heard, asked.steps)
    return _reserve_money(*counts, asked.micro_usd) if asked.priced else _reserve_unpriced(*counts)


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


def _within(cap: str, wanted: Any) -> Q:
    return Q(**{f"{cap}__isnull": True}) | Q(**{f"{cap}__gte": wanted})


def _reserve(
    money: Q, goal: Any, calls: int, commands: int, tokens: int, heard: int, steps: int, **more: Any
) -> Statement:
    room = _room(goal, calls, commands).filter(
        money,
        _within("max_steps", F("steps") + steps),
        max_tokens__gte=F("spent_tokens") + F("reserved_tokens") + tokens,
        messages__lte=heard,
    )
    return update_by(
        room,
        calls=F("calls") + calls,
        commands=F("commands") + commands,
        reserved_tokens=F("reserved_tokens") + tokens,
        steps=F("steps") + steps,
        **more,
    )


def _affordable(micro_usd: Any) -> Q:
    wanted = F("spent_micro_usd") + F("reserved_micro_usd") + micro_usd
    return _within("max_micro_usd", wanted) & _within("allotted_micro_usd", wanted)


_COUNTS = (UUID, int, int, int, int, int)
_reserve_money = PreparedUpdate(
    lambda goal, calls, commands, tokens, heard, steps, micro_usd: _reserve(
        *(_affordable(micro_usd), goal, calls, commands, tokens, heard, steps),
        reserved_micro_usd=F("reserved_micro_usd") + micro_usd,
    ),
    *(*_COUNTS, int),
)
# A price that nobody knows: nothing in USD stands in its way only where there is no such limit, or one of tokens beside it.
_reserve_unpriced = PreparedUpdate(
    lambda *counts: _reserve(
        Q(max_micro_usd__isnull=True, allotted_micro_usd__isnull=True) | Q(tokens_limited=True), *counts
    ),
    *_COUNTS,
)


def _explain_refusal(run: Run, asked: Asked, heard: int) -> None:
    """Raises what stands in the way now; returns when nothing does any more."""
    budget = Budget.objects.get(goal_id=run.goal_id)
    goal = Goal.objects.filter(pk=run.goal_id)
    if not budget.open:
        raise Cancelled(f"the goal is {goal.values_list('status', flat=True).get()}: nothing more is begun")
    if goal.filter(deadline_at__lte=Now()).exists():  # by the database's clock, as the statement that refused
        raise BudgetExceeded(f"its {budget.max_seconds} seconds are used", cap="seconds")
    if asked.tokens and budget.messages > heard:
        raise Unheard
    cap = _cap_in_the_way(budget, asked)
    if cap and (refusal := draw(run.goal_id, asked.micro_usd) if cap == "team_usd" else _told(budget, cap, asked)):
        raise (RoomTaken if _frees_itself(budget, cap, asked) else BudgetExceeded)(refusal, cap=cap)


def _frees_itself(budget: Budget, cap: str, asked: Asked) -> bool:
    """Only calls in flight stand in the way, by what they may cost at most: most of that comes back."""
    if cap == "tokens":
        return budget.spent_tokens + asked.tokens <= budget.max_tokens
    most = {"usd": budget.max_micro_usd, "team_usd": budget.allotted_micro_usd}.get(cap)
    return most is not None and budget.spent_micro_usd + asked.micro_usd <= most


def _cap_in_the_way(budget: Budget, asked: Asked) -> str:
    """The first limit that this would pass, "price" for a price that nobody knows, "" for none."""
    wanted = budget.spent_micro_usd + budget.reserved_micro_usd + asked.micro_usd
    used = {
        "calls": (budget.calls + asked.calls, budget.max_calls),
        "tokens": (budget.spent_tokens + budget.reserved_tokens + asked.tokens, budget.max_tokens),
        "commands": (budget.commands + asked.commands, budget.max_commands),
        "steps": (budget.steps + asked.steps, budget.max_steps),
        "usd": (wanted, budget.max_micro_usd),
        "team_usd": (wanted, budget.allotted_micro_usd),
    }
    over = [name for name, (wants, most) in used.items() if most is not None and wants > most]
    if not over and asked.tokens and not asked.priced and not budget.tokens_limited and has_usd_limit(budget):
        return "price"
    return over[0] if over else ""


def has_usd_limit(budget: Budget) -> bool:
    """Of its own, or of its team's month."""
    return budget.max_micro_usd is not None or budget.allotted_micro_usd is not None


def _told(budget: Budget, cap: str, asked: Asked) -> str:
    if cap == "tokens":
        left = budget.max_tokens - budget.spent_tokens - budget.reserved_tokens
        return f"the next model call may need {asked.tokens} tokens, and {max(left, 0)} of {budget.max_tokens} are left"
    if cap == "usd":
        most = budget.max_micro_usd or 0
        left = most - budget.spent_micro_usd - budget.reserved_micro_usd
        return f"the next model call may cost {in_usd(asked.micro_usd)}, and {in_usd(max(left, 0))} of {in_usd(most)} are left"
    if cap == "steps":
        return f"{budget.steps} of {budget.max_steps} attempts at steps are used"
    if cap == "price":
        return UNKNOWN_PRICE
    limits = Limits(budget.max_calls, budget.max_tokens, budget.max_commands, budget.max_seconds)
    return cap_reached(limits, Used(budget.calls, budget.spent_tokens, budget.commands, 0))


def _stop_overrun(goal_id: Any, reserved: int, billed: int) -> None:
    """A provider that bills more than was asked for may do so again: a goal with a limit in USD stops, and somebody looks at it."""
    if has_usd_limit(Budget.objects.get(goal_id=goal_id)):
        said = f"the provider billed {in_usd(billed)} for a call that could cost {in_usd(reserved)} at most"
        raise BudgetExceeded(said, cap="overrun")


def _payment(goal_id: Any, reserved: int, used: int, micro: int = 0, billed: int = 0, unpriced: int = 0) -> Statement:
    """Reserved becomes spent, in tokens and in micro-USD. A provider that bills more than was reserved is booked as overrun too."""
    tokens = (reserved, used, max(used - reserved, 0))
    return _pay(goal_id, *tokens, micro, billed, max(billed - micro, 0), unpriced)


_pay = PreparedUpdate(
    lambda goal, reserved, used, over, micro, billed, beyond, unpriced: update_by(
        Budget.objects.filter(pk=goal),
        reserved_tokens=Greatest(F("reserved_tokens") - reserved, 0),
        spent_tokens=F("spent_tokens") + used,
        overrun_tokens=F("overrun_tokens") + over,
        reserved_micro_usd=Greatest(F("reserved_micro_usd") - micro, 0),
        spent_micro_usd=F("spent_micro_usd") + billed,
        overrun_micro_usd=F("overrun_micro_usd") + beyond,
        unpriced_calls=F("unpriced_calls") + unpriced,
    ),
    *(UUID, int, int, int, int, int, int, int),
)

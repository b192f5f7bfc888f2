"""What is over of a goal that is stopping, read from its rows: three queries, no text in them. None for one that nobody stops."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from ..cancelling import ABANDONED, CallFact, Confirmation, RunFact, confirmations
from ..models import Budget, Call, Event, Goal, Rollout, Run
from ..states import CallKind, CallStatus, RolloutStatus, RunStatus

STOPPED = (RolloutStatus.CANCELLING, RolloutStatus.CANCELLED)  # where nobody cancelled the goal: what has lost a race


def cancel_proof(goal: Goal) -> list[Confirmation]:
    """Each thing that was queued, running, in flight or reserved when it was to stop, and when its end was confirmed.

    All of a goal that somebody cancelled; of a goal whose race is decided its losers, until they have stopped.
    """
    since = stopping_since(goal)
    if since is None:
        return []
    stopped = Run.objects.filter(goal=goal)
    if goal.cancelled_at is None:
        stopped = stopped.filter(rollout__status__in=STOPPED)
    reserved = Budget.objects.values_list("reserved_tokens", flat=True).get(goal=goal)
    return confirmations(since, _runs(stopped, since), _calls(stopped, since), reserved)


def stopping_since(goal: Goal) -> datetime | None:
    """When cancel was asked; or, while a goal waits for the losers of its race, when the first of them was told."""
    if goal.cancelled_at is not None or goal.is_terminal or goal.rollouts_wanted == 1:
        return goal.cancelled_at
    if not Rollout.objects.filter(
        goal=goal, status__in=STOPPED, runs__isnull=False
    ).exists():  # one never started is none
        return None
    told = Event.objects.filter(goal=goal, kind="rollout.status", new=RolloutStatus.CANCELLING)
    # in the transaction that tells them the event is not written yet
    return told.order_by("seq").values_list("at", flat=True).first() or timezone.now()


def _runs(stopped: QuerySet[Run], since: datetime) -> Sequence[RunFact]:
    later = Q(ended_at__gte=since) | Q(lease_until__gte=since)
    mine = Q(ended_at=None) | Q(sandbox_gone_at__gte=since) | (Q(sandbox_gone_at=None) & later)
    leased = ExpressionWrapper(Q(lease_until__gt=Now()), output_field=BooleanField())
    rows = stopped.filter(mine).annotate(leased=leased).select_related("step").order_by("queued_at")
    return [
        RunFact(
            name=_name(run),
            worker=run.worker,
            queued=run.status == RunStatus.QUEUED,
            running=run.status == RunStatus.RUNNING,
            leased=bool(run.leased),
            ended_at=run.ended_at,
            sandbox_gone_at=run.sandbox_gone_at,
        )
        for run in rows.defer("brief", "outcome", "error")
    ]


def _calls(stopped: QuerySet[Run], since: datetime) -> Sequence[CallFact]:
    later = Q(status=CallStatus.INTENT) | Q(ended_at__gte=since)
    rows = Call.objects.filter(later, run__in=stopped, kind=CallKind.LLM).select_related("run__step").order_by("pk")
    return [
        CallFact(
            name=f"{_name(call.run)}, call {call.turn}",
            ended_at=None if call.status == CallStatus.INTENT else call.ended_at,
            abandoned=call.error == ABANDONED,
        )
        for call in rows.only("turn", "ended_at", "status", "error", "run__kind", "run__step__index")
    ]


def _name(run: Run) -> str:
    return f"step {run.step.index}" if run.step else f"the {run.kind}"

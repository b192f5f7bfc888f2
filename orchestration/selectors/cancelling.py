"""What is over of a cancelled goal, read from its rows: three queries, no text in them. None for a goal that nobody cancelled."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now

from ..cancelling import ABANDONED, CallFact, Confirmation, RunFact, confirmations
from ..models import Budget, Call, Goal, Run
from ..states import CallKind, CallStatus, RunStatus


def cancel_proof(goal: Goal) -> list[Confirmation]:
    """Each thing that was queued, running, in flight or reserved when cancel was asked, and when its end was confirmed."""
    if goal.cancelled_at is None:
        return []
    reserved = Budget.objects.values_list("reserved_tokens", flat=True).get(goal=goal)
    return confirmations(goal.cancelled_at, _runs(goal), _calls(goal), reserved)


def _runs(goal: Goal) -> Sequence[RunFact]:
    later = Q(ended_at__gte=goal.cancelled_at) | Q(lease_until__gte=goal.cancelled_at)
    mine = Q(ended_at=None) | Q(sandbox_gone_at__gte=goal.cancelled_at) | (Q(sandbox_gone_at=None) & later)
    leased = ExpressionWrapper(Q(lease_until__gt=Now()), output_field=BooleanField())
    rows = Run.objects.filter(mine, goal=goal).annotate(leased=leased).select_related("step").order_by("queued_at")
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


def _calls(goal: Goal) -> Sequence[CallFact]:
    later = Q(status=CallStatus.INTENT) | Q(ended_at__gte=goal.cancelled_at)
    rows = Call.objects.filter(later, run__goal=goal, kind=CallKind.LLM).select_related("run__step").order_by("pk")
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

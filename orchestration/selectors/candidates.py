"""Reads about several rollouts of one goal: may the next one start, how did one come to its result, has a judge been asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.db.models import Count, F, Min, Q, Sum
from django.utils import timezone

from ..models import Budget, Call, Goal, Rollout, Run, Step
from ..pricing import MICRO
from ..scoring import Work
from ..starting import Purse, Turn, Used, overdrawn, refused, waits
from ..states import TERMINAL_ROLLOUT, CallKind, CallStatus, RolloutStatus, RunKind, RunStatus, Strategy

NOTHING = Used(0, 0)


def compares(goal: Goal) -> bool:
    """Its results are compared when all have ended, each after a clean room."""
    return goal.rollouts_wanted > 1 and goal.strategy == Strategy.BEST_OF_N


def standing(goal: Goal, rollouts: Sequence[Rollout], rollout: Any) -> tuple[str, str]:
    """Why a rollout that has not started waits, and why it never will; both empty: it starts. Only ever asked before its start."""
    before = next(r for r in rollouts if r.number == rollout.number - 1)
    if said := waits(_turn(goal, before)):
        return said, ""
    return "", refused(_purse(goal, rollouts, rollout))


def overdraft(goal: Goal, rollouts: Sequence[Rollout], rollout: Rollout) -> str:
    """Why this rollout begins nothing more, although the goal's limits are not reached. Only ever asked where there are several."""
    open_ones = [r for r in rollouts if r.status not in TERMINAL_ROLLOUT]
    if rollout not in open_ones or len(open_ones) < 2:
        return ""
    budget, used = Budget.objects.get(goal=goal), _used(goal)
    ended = [used.get(r.pk, NOTHING) for r in rollouts if r.status in TERMINAL_ROLLOUT]
    most = Used(budget.max_calls, budget.max_tokens, budget.max_micro_usd or 0)
    return overdrawn(most, used.get(rollout.pk, NOTHING), ended, len(open_ones))


def _used(goal: Goal) -> dict[Any, Used]:
    """By rollout, without what is in flight."""
    calls = Call.objects.filter(run__goal=goal, kind=CallKind.LLM).values("run__rollout")
    rows = calls.annotate(n=Count("pk"), tokens=_tokens(), usd=Sum("cost"))
    return {row["run__rollout"]: Used(row["n"], row["tokens"] or 0, int((row["usd"] or 0) * MICRO)) for row in rows}


def _turn(goal: Goal, before: Rollout) -> Turn:
    if goal.stagger_seconds is None:
        return Turn()
    since = Run.objects.filter(rollout=before).aggregate(at=Min("queued_at"))["at"]
    return Turn(
        goal.stagger_seconds,
        (timezone.now() - since).total_seconds() if since else None,
        before.status in TERMINAL_ROLLOUT,
        before.status == RolloutStatus.SUCCEEDED and before.verified,
    )


def _purse(goal: Goal, rollouts: Sequence[Rollout], asking: Rollout) -> Purse:
    budget, used = Budget.objects.get(goal=goal), _used(goal)
    others = [r for r in rollouts if r.pk != asking.pk and r.status != RolloutStatus.QUEUED]
    return Purse(
        left=Used(budget.max_calls - budget.calls, budget.max_tokens - budget.spent_tokens - budget.reserved_tokens),
        ended=[used.get(r.pk, NOTHING) for r in others if r.status in TERMINAL_ROLLOUT],
        working=[used.get(r.pk, NOTHING) for r in others if r.status not in TERMINAL_ROLLOUT],
        least_tokens=int(settings.LLM_ENVIRONMENT.get("LLM_MAX_TOKENS") or 4096),
    )


def _tokens() -> Any:
    """What is booked for calls: as billed, or, where nobody knows, as reserved."""
    unknown = Sum("reserved_tokens", filter=Q(status=CallStatus.UNKNOWN), default=0)
    return Sum(F("prompt_tokens") + F("completion_tokens"), default=0) + unknown


def work_of(rollout: Rollout, plan: Any) -> tuple[Work, int]:
    """What a score is made of, and the tokens that it cost. `plan`: the newest one's id."""
    runs = Run.objects.filter(rollout=rollout).exclude(kind=RunKind.JUDGE)
    seen = runs.aggregate(
        errors=Count("pk", filter=Q(status__in=(RunStatus.FAILED, RunStatus.ERRORED))),
        again=Count("pk", filter=Q(attempt__gt=1) & ~Q(status=RunStatus.CANCELLED)),
        began=Min("started_at"),
    )
    steps = Step.objects.filter(plan=plan).count() if plan else 0
    tokens = Call.objects.filter(run__in=runs, kind=CallKind.LLM).aggregate(tokens=_tokens())["tokens"]
    seconds = (timezone.now() - seen["began"]).total_seconds() if seen["began"] else 0.0
    return Work(seen["errors"], seen["again"] + rollout.review_rounds + rollout.replans, seconds, steps), tokens or 0


def judges_of(goal: Goal, rollouts: Sequence[Rollout]) -> list[Run]:
    """The runs that were to compare equal results; looked for only where there may be any."""
    won = sum(r.status == RolloutStatus.SUCCEEDED for r in rollouts)
    if won < 2 or not compares(goal) or any(r.status not in TERMINAL_ROLLOUT for r in rollouts):
        return []
    return list(Run.objects.filter(goal=goal, kind=RunKind.JUDGE).order_by("queued_at", "attempt"))

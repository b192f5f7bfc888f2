"""What the step page and the page of a plan or review run show: one run's journal, a page of it at a time, and its checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q, Sum
from django.http import Http404
from django.shortcuts import get_object_or_404

from ..models import Call, Check, Run, Step
from ..remedies import Remedy, remedy_for
from ..states import CallKind, CallStatus
from ..transcript import Card, Terminal, cards, terminal
from .access import runs_for, steps_for
from .take_overs import TakeOver, take_overs_of

PAGE = 200  # calls
HIDDEN = frozenset({CallStatus.SUPERSEDED})


@dataclass(frozen=True)
class RunPart:
    """One attempt. `after` is the address of the next page of its journal, empty on the last."""

    run: Run
    cards: Sequence[tuple[Card, Terminal | None]]
    after: int
    totals: dict[str, int]
    checks: Sequence[Check]
    remedy: Remedy | None
    take_overs: Sequence[TakeOver]

    @property
    def queued_seconds(self) -> float | None:
        begun = self.run.started_at
        return max(0.0, (begun - self.run.queued_at).total_seconds()) if begun else None


@dataclass(frozen=True)
class StepPage:
    step: Step
    attempts: Sequence[Run]
    number: int  # the place of the shown attempt, from 1; 0 where there is none yet
    part: RunPart | None


def step_page(user: Any, goal_id: Any, place: tuple[int, int, int], attempt: int | None, after: int) -> StepPage:
    """`place`: rollout number, plan revision, step index. The newest attempt unless one is named. Raises Http404."""
    rollout, revision, index = place
    steps = steps_for(user).filter(rollout__goal=goal_id, rollout__number=rollout, plan__revision=revision, index=index)
    step = get_object_or_404(steps.select_related("rollout", "plan", "carried_from__plan"))
    attempts = list(Run.objects.filter(step=step).defer("outcome", "brief").order_by("queued_at", "attempt"))
    number = attempt if attempt is not None else len(attempts)
    if attempt is not None and not 1 <= attempt <= len(attempts):
        raise Http404
    return StepPage(step, attempts, number, run_part(attempts[number - 1], after) if attempts else None)


def run_page(user: Any, goal_id: Any, run_id: Any, after: int) -> RunPart:
    """A plan or review run; a step's runs are on its page."""
    runs = runs_for(user).filter(goal=goal_id, step=None).defer("outcome", "brief").select_related("rollout")
    return run_part(get_object_or_404(runs, pk=run_id), after)


def run_part(run: Run, after: int) -> RunPart:
    calls = Call.objects.filter(run=run).exclude(status__in=HIDDEN).order_by("turn", "index", "pk")
    shown = list(calls.defer("request_hash")[after : after + PAGE + 1])
    sums = {name: Sum(f"{name}_tokens") for name in ("prompt", "cached", "completion")}
    llm, command = Q(kind=CallKind.LLM), Q(kind=CallKind.COMMAND)
    totals = Call.objects.filter(run=run).aggregate(
        turns=Count("pk", filter=llm), commands=Count("pk", filter=command), **sums
    )
    return RunPart(
        run=run,
        cards=[(card, terminal(card.call) if card.kind == "command" else None) for card in cards(shown[:PAGE])],
        after=after + PAGE if len(shown) > PAGE else 0,
        totals={name: value or 0 for name, value in totals.items()},
        checks=list(Check.objects.filter(run=run).order_by("pk")),
        remedy=remedy_for(run.error_kind) if run.error_kind else None,
        take_overs=take_overs_of(run),
    )

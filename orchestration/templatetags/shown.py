"""Filters for text that nobody vouches for. A template prints such a text through one of these, never bare."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django import template
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from ..budget import COLUMNS
from ..forecast import error_in_words, in_words
from ..models import Budget, Call, Event, Goal, Run
from ..pricing import in_usd, known_usd, usd
from ..remedies import remedy_for
from ..rendering import ansi, code, markdown, text
from ..selectors.forecasts import forecast_told
from ..selectors.goal_facts import is_worker, short_worker
from ..selectors.goal_page import StepLine, below
from ..telling import sentence
from ..transcript import Terminal
from ..transcript import terminal as as_terminal
from ..why import CAP_WORDS
from .panel import ICONS

register = template.Library()


@register.filter
def visible(value: object) -> str:
    return text.visible(value)


@register.filter
def one_line(value: object, longest: int = 0) -> str:
    return text.one_line(value, longest)


@register.filter
def clip(value: object, longest: int) -> str:
    """Head and tail of a text that may be long; several lines stay several."""
    return text.clipped(text.visible(value), longest)


@register.filter
def terminal(value: object) -> SafeString:
    return ansi.terminal_html(value)


@register.filter
def prose(value: object) -> SafeString:
    return markdown.markdown_html(value)


@register.filter
def code_as(value: object, language: str) -> SafeString:
    return code.code_html(str(value), language)


@register.filter
def worker(name: str) -> str:
    return text.one_line(short_worker(name), 80) or "\N{EN DASH}"


@register.filter
def event_text(row: Event) -> str:
    return text.visible(sentence(row.kind, row.subject, row.old, row.new, row.reason, row.data))


@register.filter
def event_by(row: Event) -> str:
    """Who did it, where that says something: a person, or the worker that begins a run."""
    if is_worker(row.by):
        return f"on {worker(row.by)}" if row.new == "running" and row.kind == "run.status" else ""
    return "" if row.by in {"engine", "housekeeper"} else f"by {text.one_line(row.by, 80)}"


@register.filter
def count(value: int | None) -> str:
    """1.2 k, 3.4 M: figures of which nobody reads the last digits."""
    number = value or 0
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:.1f}".removesuffix(".0") + f" {unit}"
    return str(number)


# ---- rows of the goal's pages


@register.filter
def icon_name(value: str) -> str:
    return ICONS.get(str(value), "info")


@register.filter
def step_word(line: StepLine) -> str:
    return below(line)


RUN_NAMES = {"plan": "Planning", "review": "Review", "exam": "Clean room", "judge": "Comparison"}


@register.filter
def run_name(run: Run) -> str:
    return f"Step {run.step.index}" if run.step else RUN_NAMES[run.kind]


@register.filter
def run_address(run: Run) -> str:
    """The page of a run: its step's, or its own. Rollout, step and plan are loaded with it."""
    if run.step is None:
        return reverse("orchestration:run-detail", args=(run.goal_id, run.pk))
    place = (run.goal_id, run.rollout.number, run.step.plan.revision, run.step.index)
    return reverse("orchestration:step-detail", args=place)


@register.filter
def run_seconds(run: Run) -> float | None:
    if run.started_at is None or run.status == "queued":
        return None
    return max(0.0, ((run.ended_at or timezone.now()) - run.started_at).total_seconds())


@register.filter
def newest(rows: Sequence[Any], most: int) -> list[Any]:
    return list(rows)[-most:][::-1]


@register.filter
def terminals(calls: Sequence[Any]) -> list[Terminal]:
    return [as_terminal(call) for call in calls]


@register.filter
def remedy_name(error_kind: str) -> str:
    return remedy_for(error_kind).name


@register.filter
def remedy_helps(error_kind: str) -> str:
    return remedy_for(error_kind).helps


@register.filter
def limits(budget: Budget) -> list[tuple[str, str, int | Decimal]]:
    """(field, words, present limit) for each limit that a person may raise."""
    present = {name: getattr(budget, column) for name, column in COLUMNS.items()}
    present["usd"] = usd(present["usd"])
    rows = [(name, CAP_WORDS[name], limit) for name, limit in present.items() if limit is not None]
    return [
        (name, words[0].upper() + words[1:], limit.normalize() if name == "usd" else limit)
        for name, words, limit in rows
    ]


@register.filter
def micro(value: int | None) -> str:
    """Micro-USD, in USD."""
    return in_usd(value)


@register.filter
def forecast(goal: Goal) -> str:
    """What it will probably cost and take; of an ended goal also how that came out."""
    told = forecast_told(goal)
    came = error_in_words(told)
    return f"{in_words(told)}{f'; it came to {came}' if came else ''}"


@register.filter
def price(budget: Budget) -> str:
    """What a goal has cost, with what nobody knows."""
    return known_usd(budget.spent_micro_usd, budget.unpriced_calls)


@register.filter
def doubled(value: int | Decimal) -> int | Decimal:
    return 2 * value


@register.filter
def words(value: object) -> str:
    return str(value).replace("_", " ")


@register.filter
def run_end(run: Run) -> str:
    """How a run stands, in a word or two."""
    if run.status == "failed":
        return {"conflict": "conflict", "work": "said no"}.get(run.error_kind, "failed")
    return {"errored": "broke", "queued": "is queued", "running": "runs"}.get(run.status, str(run.status))


@register.filter
def call_seconds(call: Call) -> float | None:
    return max(0.0, (call.ended_at - call.started_at).total_seconds()) if call.ended_at else None

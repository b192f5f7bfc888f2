"""Forecasts: the finished goals that are like one, and how good earlier forecasts were. Never beyond a team: costs are its own."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from statistics import median
from typing import Any

from ..forecast import MEASURES, Forecast, Sample, error, forecast_from, foretell
from ..models import Budget, Goal, Plan
from ..pricing import usd
from ..states import GoalStatus

MOST_SAMPLES = 500  # of the newest
ENDED = (GoalStatus.SUCCEEDED, GoalStatus.FAILED)
COLUMNS = (
    *("started_at", "ended_at", "deadline_at", "budget__max_seconds"),
    *("budget__spent_tokens", "budget__spent_micro_usd", "budget__unpriced_calls"),
)


def forecast_of(goal: Goal) -> Forecast:
    """From finished goals of its schedule, else on its repository, else of its team, that had as many rollouts. A query or two."""
    ended = Goal.objects.filter(team=goal.team_id, status__in=ENDED, only="", rollouts_wanted=goal.rollouts_wanted)
    ended = ended.filter(started_at__isnull=False, budget__calls__gt=0).exclude(pk=goal.pk).order_by("-created_at")
    names = ("occurrence__schedule", "repository", *COLUMNS)
    rows = [(schedule, repo, _sample(*own)) for schedule, repo, *own in ended.values_list(*names)[:MOST_SAMPLES]]
    schedule = _schedule_of(goal)
    kinds = [("team", [sample for _, _, sample in rows])]
    if goal.repository_id:
        kinds.insert(0, ("repository", [sample for _, repo, sample in rows if repo == goal.repository_id]))
    if schedule:
        kinds.insert(0, ("schedule", [sample for its, _, sample in rows if its == schedule]))
    return foretell(kinds)


def _schedule_of(goal: Goal) -> Any:
    if goal.origin != "schedule":
        return None
    return Goal.objects.filter(pk=goal.pk).values_list("occurrence__schedule", flat=True).first()


def forecast_told(goal: Goal) -> dict[str, Any]:
    """As it was when the goal's first plan was recorded, with its error in the end; before that plan: as it is now.

    Empty for a goal that was begun without one (a retry carries its plan).
    """
    is_ahead = goal.started_at is None and not goal.is_terminal
    return goal.forecast or (forecast_of(goal).stored() if is_ahead else {})


def most_usd(goal: Goal, plan: Plan) -> Decimal | None:
    """What the goal will cost at most, P90 in USD, or what it has cost if that is more. None: nobody knows."""
    expected = (forecast_from(goal.forecast) if goal.forecast else forecast_of(goal)).micro_usd
    if expected is None:
        return None
    spent = Budget.objects.values_list("spent_micro_usd", flat=True).get(goal=goal)
    return usd(max(int(expected.p90), spent))


def error_of(goal: Goal) -> dict[str, Any]:
    """Of a goal that has just ended: how its forecast came out."""
    row = Budget.objects.filter(goal=goal).values_list(*(name.removeprefix("budget__") for name in COLUMNS[3:])).get()
    return error(forecast_from(goal.forecast), _sample(goal.started_at, goal.ended_at, goal.deadline_at, *row))


def _sample(started: Any, ended: Any, deadline: Any, most: int, tokens: int, micro: int, unpriced: int) -> Sample:
    """Its hours are for work: what it waited for people had been given back to its deadline."""
    waited = max(0.0, (deadline - started).total_seconds() - most) if deadline else 0.0
    seconds = max(0.0, (ended - started).total_seconds() - waited)
    return Sample(tokens, round(seconds, 1), None if unpriced else micro)


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """How forecasts of a measure came out: of `n`, how many stayed within P90, and the median of actual / P50."""

    n: int
    within_p90: int
    ratio: float | None


def track_record(team_id: Any) -> dict[str, TrackRecord]:
    """By measure (micro_usd, tokens, seconds), over the newest goals of the team whose forecast came out. One query."""
    rows = Goal.objects.filter(team=team_id, status__in=ENDED, forecast__has_key="error").order_by("-created_at")
    errors = [told["error"] for told in rows.values_list("forecast", flat=True)[:MOST_SAMPLES]]
    return {name: _record([one[name] for one in errors if name in one]) for name in MEASURES}


def _record(found: list[dict[str, Any]]) -> TrackRecord:
    ratios = [one["ratio"] for one in found if one["ratio"] is not None]
    return TrackRecord(
        len(found), sum(one["within_p90"] for one in found), round(median(ratios), 3) if ratios else None
    )


def record_in_words(record: dict[str, TrackRecord]) -> str:
    """Empty where no forecast has come out yet."""
    names = {"micro_usd": "cost", "tokens": "tokens", "seconds": "time"}
    said = [f"{names[name]} {one.within_p90} of {one.n}" for name, one in record.items() if one.n]
    return f"of earlier forecasts within P90: {', '.join(said)}" if said else ""

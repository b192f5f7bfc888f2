"""What model calls cost, by goal, model, day … and what a verified success costs: five queries, however much there is.

A call that is in flight is not counted yet; one that was lost is, at what was reserved for it.
"""

from __future__ import annotations

from datetime import UTC
from typing import Any

from django.db.models import Count, F, Max, Q, QuerySet, Sum
from django.db.models.functions import Left, TruncDate

from ..costs import ROLE_OF, Amount, CostRow, Costs, Period, Worth
from ..models import Call, Goal
from ..pricing import MICRO
from ..roles import Action
from ..states import TERMINAL_GOAL, CallKind, CallStatus, GoalStatus
from .access import goals_for, teams_where

MOST = 200  # rows that a page shows
LABEL = 120  # characters of a goal's text, or of a step's
UNPRICED = Q(cost=None) & (
    Q(prompt_tokens__gt=0) | Q(completion_tokens__gt=0) | Q(status=CallStatus.UNKNOWN, reserved_tokens__gt=0)
)
SUMS: dict[str, Any] = {
    "calls": Count("pk"),
    "prompt": Sum("prompt_tokens", default=0),
    "cached": Sum("cached_tokens", default=0),
    "completion": Sum("completion_tokens", default=0),
    "money": Sum("cost"),
    "unpriced": Count("pk", filter=UNPRICED),
}
STEP = ("run__rollout__number", "run__step__plan__revision", "run__step__index")
GROUPS: dict[str, tuple[str, ...]] = {
    "goal": ("run__goal_id",),
    "rollout": ("run__goal_id", "run__rollout__number"),
    "step": ("run__goal_id", *STEP),
    "role": ("run__kind",),
    "model": ("provider", "model"),
    "user": ("run__goal__submitted_by__username",),
    "team": ("run__goal__team__name",),
    "day": ("day",),
}


def goals_with_costs(user: Any) -> QuerySet[Goal]:
    """Of the teams in which this user may see what goals cost."""
    return goals_for(user).filter(team__in=teams_where(user, Action.SEE_COSTS))


def costs(goals: QuerySet[Goal], period: Period, by: str, most: int = MOST) -> Costs:
    """`goals`: those that count. `by`: one of `costs.BY`."""
    open_then = goals.filter(Q(ended_at=None) | Q(ended_at__gte=period.since))  # no other has calls in it
    calls = _calls(open_then).filter(started_at__gte=period.since, started_at__lt=period.until)
    ended = goals.filter(status__in=TERMINAL_GOAL, ended_at__gte=period.since, ended_at__lt=period.until)
    total = _row("total", ("total",), calls.aggregate(**SUMS))
    rows = list(_grouped(calls, by)[: most + 1])
    by_role = _worths(ended, "role")
    counts = ended.aggregate(goals=Count("pk"), verified=Count("pk", filter=_verified("")))
    whole = sum((worth.amount for worth in by_role), Amount())
    return Costs(
        by=by,
        period=period,
        total=total,
        rows=[_row(by, GROUPS[by], row) for row in rows[:most]],
        more=len(rows) > most,
        success=Worth("all", counts["verified"], counts["goals"], whole),
        by_model=_worths(ended, "model"),
        by_role=by_role,
    )


def _calls(goals: QuerySet[Goal]) -> QuerySet[Call]:
    wanted = goals.order_by().values("pk")
    return Call.objects.filter(run__goal__in=wanted, kind=CallKind.LLM).exclude(status=CallStatus.INTENT).order_by()


def _verified(way: str) -> Q:
    """Succeeded, and checks that no agent wrote passed on its result: the goal's own word for that."""
    return Q(**{f"{way}status": GoalStatus.SUCCEEDED, f"{way}verified": True})


def _grouped(calls: QuerySet[Call], by: str) -> Any:
    rows = calls.annotate(day=TruncDate("started_at", tzinfo=UTC)) if by == "day" else calls
    labels: dict[str, Any] = {"goal": {"label": Left(Max("run__goal__text"), LABEL)}}
    labels["step"] = {"label": Left(Max("run__step__description"), LABEL)}
    found = rows.values(*GROUPS[by]).annotate(**SUMS, **labels.get(by, {}))
    dearest = F("money").desc(nulls_last=True)
    return found.order_by("-day") if by == "day" else found.order_by(dearest, "-prompt", *GROUPS[by])


def _worths(ended: QuerySet[Goal], by: str) -> list[Worth]:
    """All that these goals cost, by model or role; a goal counts for each that worked on it."""
    goals = Count("run__goal", distinct=True)
    verified = Count("run__goal", distinct=True, filter=_verified("run__goal__"))
    rows = _calls(ended).values(*GROUPS[by]).annotate(**SUMS, goals=goals, verified=verified)
    found = [Worth(_name(by, GROUPS[by], row), row["verified"], row["goals"], _amount(row)) for row in rows]
    return sorted(found, key=lambda worth: (-worth.verified, worth.name))


def _row(by: str, group: tuple[str, ...], row: dict[str, Any]) -> CostRow:
    key = ".".join("" if row.get(name) is None else str(row[name]) for name in group)
    tokens = (row["prompt"], row["cached"], row["completion"])
    return CostRow(key, _name(by, group, row), row["calls"], *tokens, _amount(row), row.get("run__goal_id"))


def _amount(row: dict[str, Any]) -> Amount:
    return Amount(round((row["money"] or 0) * MICRO), row["unpriced"])


def _name(by: str, group: tuple[str, ...], row: dict[str, Any]) -> str:
    short = str(row.get("run__goal_id", ""))[:8]
    if by == "goal":
        return f"{short} {row['label']}"
    if by == "rollout":
        return f"{short} rollout {row['run__rollout__number']}"
    if by == "step":
        return _step_name(short, row)
    if by == "role":
        return str(ROLE_OF.get(row["run__kind"], row["run__kind"]))
    if by == "model":
        return "/".join(filter(None, (row["provider"], row["model"] or "a model that has not answered")))
    return str(row.get(group[0]) or "nobody (from the shell)") if by != "total" else by


def _step_name(short: str, row: dict[str, Any]) -> str:
    rollout, revision, index = (row[name] for name in STEP)
    if index is None:
        return f"{short} rollout {rollout}: plans and reviews"
    return f"{short} rollout {rollout}, plan {revision}, step {index}: {row['label']}"

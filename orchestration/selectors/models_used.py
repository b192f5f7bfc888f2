"""Who answered a goal's model calls, by kind of work, and how much of the prompts came from the servers' caches. One query."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count, Sum

from ..models import Call, Goal
from ..states import CallKind


@dataclass(frozen=True, slots=True)
class ModelUse:
    work: str
    provider: str
    model: str
    calls: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    hit_rate: float | None

    @property
    def percent(self) -> int | None:
        return None if self.hit_rate is None else round(100 * self.hit_rate)


def models_used(goal: Goal) -> list[ModelUse]:
    calls = Call.objects.filter(run__goal=goal, kind=CallKind.LLM)
    rows = calls.values("run__kind", "provider", "model").annotate(
        calls=Count("pk"),
        prompt=Sum("prompt_tokens"),
        cached=Sum("cached_tokens"),
        completion=Sum("completion_tokens"),
    )
    return [
        ModelUse(
            work=row["run__kind"],
            provider=row["provider"],
            model=row["model"],
            calls=row["calls"],
            prompt_tokens=row["prompt"],
            cached_tokens=row["cached"],
            completion_tokens=row["completion"],
            hit_rate=round(min(row["cached"] / row["prompt"], 1.0), 4) if row["prompt"] else None,
        )
        for row in rows.order_by("run__kind", "provider", "model")
    ]

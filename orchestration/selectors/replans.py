"""What a plan revision made of the one before it, for its page and for the story."""

from __future__ import annotations

from typing import Any

from django.db.models import F, Sum

from ..models import Call, Plan, Rollout, Step
from ..replans import replan_report, what_changed
from ..states import CallKind


def tokens_by_step(rollout: Rollout) -> dict[tuple[int, int], int]:
    """By (revision, index): what the model calls of its runs took."""
    calls = Call.objects.filter(run__rollout=rollout, run__step__isnull=False, kind=CallKind.LLM)
    rows = calls.values_list("run__revision", "run__step__index")
    used = rows.annotate(used=Sum(F("prompt_tokens") + F("completion_tokens"))).order_by()
    return {(revision, index): tokens or 0 for revision, index, tokens in used}


def replan_of(plan: Plan | None) -> str:
    """In a line; empty for a first revision."""
    if plan is None or plan.revision < 2:
        return ""
    before = plan.revision - 1
    steps = Step.objects.filter(plan__rollout=plan.rollout_id, plan__revision__in=(before, plan.revision))
    told: dict[int, list[dict[str, Any]]] = {before: [], plan.revision: []}
    for step in steps.select_related("plan").order_by("index"):
        told[step.plan.revision].append(_told(step))
    spent = {index: used for (revision, index), used in tokens_by_step(plan.rollout).items() if revision == before}
    return what_changed(replan_report(told[before], told[plan.revision], spent))


def _told(step: Step) -> dict[str, Any]:
    names = ("index", "description", "status", "dependencies")
    told = {name: getattr(step, name) for name in names}
    return {**told, "check": step.check_command, "carried": step.carried_from_id is not None}

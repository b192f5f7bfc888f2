"""A goal's story for people: reads only, a handful of queries, no blobs. `goal show`, `goal watch` and `--json` are made of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from django.db.models import Count, Sum
from django.utils import timezone

from .cancelling import may_force, unconfirmed
from .errors import BadInput, NotFound
from .forecast import error_in_words, in_words
from .models import Approval, Budget, Call, Check, Event, Goal, Plan, Question, Review, Rollout, Run, Step, Worker
from .pricing import as_text, known_usd
from .proof import Proof
from .replans import replan_report
from .selectors.cancelling import cancel_proof, stopping_since
from .selectors.forecasts import forecast_told, record_in_words, track_record
from .selectors.goal_page import why_of
from .selectors.limits import said as near_limits
from .selectors.line import in_line
from .selectors.models_used import models_used
from .selectors.overlaps import overlaps_of
from .selectors.proofs import proofs_of
from .selectors.replans import tokens_by_step
from .selectors.take_overs import TakeOver, take_overs_in
from .states import CallKind, CallStatus, CheckPhase, GoalStatus

FRESH = timedelta(seconds=60)


def find_goal(text: str) -> Goal:
    """A goal by its id, the beginning of it (≥ 4 characters), or `last`. Raises NotFound or BadInput."""
    wanted = text.strip().lower()
    if wanted == "last":
        newest = Goal.objects.order_by("-created_at").first()
        if newest is None:
            raise NotFound('there is no goal yet: manage.py goal submit "what is to be done" --repo .')
        return newest
    if not re.fullmatch(r"[0-9a-f-]{4,36}", wanted):
        raise BadInput(f"{text[:60]!r} is not a goal's id; give at least its first 4 characters, or `last`")
    low, high = (wanted + fill * 36 for fill in ("0", "f"))
    found = list(Goal.objects.filter(pk__gte=_uuid(low), pk__lte=_uuid(high))[:3])
    if not found:
        raise NotFound(f"there is no goal {wanted}; see `manage.py goal list`")
    if len(found) > 1:
        raise BadInput(
            f"{wanted} is the beginning of several goals: {', '.join(goal.short_id for goal in found)} …; give more of it"
        )
    return found[0]


def _uuid(text: str) -> str:
    digits = text.replace("-", "")[:32]
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def headline(goal: Goal) -> str:
    """The status as it is shown everywhere: an unverified success says so, and so does the demo's script."""
    said = str(goal.status)
    if goal.status == GoalStatus.SUCCEEDED:
        said = "succeeded, verified" if goal.verified else "succeeded, unverified"
        if goal.unverified_by and not goal.verified:
            said += f", accepted by {goal.unverified_by}"
    elif goal.stuck:
        said = f"{goal.status}, stuck"
    return f"{said} (scripted)" if is_scripted(goal) else said


def is_scripted(goal: Goal) -> bool:
    return "scripted" in goal.model


def summary(goal: Goal) -> dict[str, Any]:
    """One goal as a row of a list."""
    return {
        "id": str(goal.pk),
        "team": goal.team.name,
        "status": goal.status,
        "headline": headline(goal),
        "verified": goal.verified,
        "unverified_by": goal.unverified_by,
        "text": goal.text,
        "priority": goal.priority,
        "created_at": goal.created_at.isoformat(),
    }


def story(goal: Goal) -> dict[str, Any]:
    """Everything that is worth telling about a goal, as JSON values."""
    return {
        **handed_over(goal),
        "why": why_of(goal),
        "in_line": line(goal),
        "forecast": forecast(goal),
        "checks": [_check(check) for check in Check.objects.filter(goal=goal).select_related("rollout")],
        "commands": [command(call) for call in commands(goal)],
        "cancel": cancel(goal),
        "events": [event(row) for row in Event.objects.filter(goal=goal)],
    }


def handed_over(goal: Goal) -> dict[str, Any]:
    """The part of the story that a handover packet is made of."""
    rollouts = list(Rollout.objects.filter(goal=goal).select_related("patch").defer("patch__data"))
    overs = take_overs_in(goal)
    return {
        **summary(goal),
        "reason": goal.reason,
        "stuck": goal.stuck,
        "paused_cap": goal.paused_cap,
        "model": goal.model,
        "scripted": is_scripted(goal),
        "role_models": goal.role_models,
        "models_used": [asdict(used) for used in models_used(goal)],
        "repository": goal.repository.path if goal.repository else "",
        "base": goal.base_sha,
        "given_checks": goal.checks,
        "overlaps": overlaps(goal),
        "review": {"when": goal.review_when, "by": goal.reviewed_by, "ask_below": goal.ask_below},
        "retry_of": str(goal.retry_of_id) if goal.retry_of_id else "",
        "follow_up_of": str(goal.follow_up_of_id) if goal.follow_up_of_id else "",
        "started_at": goal.started_at.isoformat() if goal.started_at else "",
        "ended_at": goal.ended_at.isoformat() if goal.ended_at else "",
        "selected": next((r.number for r in rollouts if r.pk == goal.selected_id), None),
        "selected_by": goal.selected_by,
        "selected_reason": goal.selected_reason,
        "stagger_seconds": goal.stagger_seconds,
        "rollouts": [_rollout(rollout, overs) for rollout in rollouts],
        "proof": [shown_proof(proof) for proof in proofs_of(goal)],
        "cost": cost(goal),
        "plan_only": goal.plan_only,
        "approvals": [approval(row) for row in approvals(goal)],
        "questions": [
            question(row) for row in Question.objects.filter(goal=goal).select_related("step").order_by("created_at")
        ],
    }


def approvals(goal: Goal) -> Sequence[Approval]:
    """Oldest first."""
    return list(Approval.objects.filter(goal=goal).select_related("rollout", "plan").order_by("created_at"))


def approval(row: Approval) -> dict[str, Any]:
    names = ("status", "asks", "run_only", "four_eyes", "on_expiry", "by", "reason")
    return {
        "id": str(row.pk),
        "rollout": row.rollout.number,
        "revision": row.plan.revision,
        "plan_sha256": row.plan_sha256,
        **{name: getattr(row, name) for name in names},
        "expires_at": row.expires_at.isoformat() if row.expires_at else "",
        "decided_at": row.ended_at.isoformat() if row.ended_at else "",
    }


def question(row: Question) -> dict[str, Any]:
    names = ("text", "choices", "default", "status", "answer", "by")
    return {
        "id": str(row.pk),
        "step": row.step.index,
        **{name: getattr(row, name) for name in names},
        "expires_at": row.expires_at.isoformat() if row.expires_at else "",
    }


def cancel(goal: Goal) -> dict[str, Any] | None:
    """What of a goal that stops is over for certain, and since when; None where nothing was asked to stop."""
    asked = stopping_since(goal)
    if asked is None:
        return None
    found = cancel_proof(goal)
    return {
        "asked_at": asked.isoformat(),
        "confirmations": [
            {
                "what": one.what,
                "subject": one.subject,
                "confirmed_at": one.confirmed_at and one.confirmed_at.isoformat(),
            }
            for one in found
        ],
        "unconfirmed": unconfirmed(found),
        "can_force": goal.status == GoalStatus.CANCELLING and may_force(goal.cancelled_at, timezone.now()),
    }


def line(goal: Goal) -> dict[str, Any] | None:
    """Its place among its team's goals that wait for room, and what holds it; None: it waits for none."""
    found = in_line(goal)
    return None if found is None else asdict(found)


def forecast(goal: Goal) -> dict[str, Any]:
    """What it would probably cost and take, from how many finished goals; `error`: how that came out; `record`: of earlier ones."""
    told = forecast_told(goal)
    record = track_record(goal.team_id)
    words = {"said": in_words(told), "error_said": error_in_words(told), "record_said": record_in_words(record)}
    nothing = {"n": 0, "of": "", "micro_usd": None, "tokens": None, "seconds": None, "error": {}}
    return {**nothing, **told, **words}


def cost(goal: Goal) -> dict[str, Any]:
    """What was used, of what was allowed. What nobody knows the price of is not in `usd`: it is never shown as 0."""
    budget = Budget.objects.select_related("goal").get(goal=goal)
    calls = Call.objects.filter(run__goal=goal, kind=CallKind.LLM)
    sums = calls.aggregate(
        prompt=Sum("prompt_tokens"), completion=Sum("completion_tokens"), cached=Sum("cached_tokens")
    )
    unknown = calls.filter(status=CallStatus.UNKNOWN).aggregate(n=Count("pk"), tokens=Sum("reserved_tokens"))
    names = (
        "calls",
        "commands",
        "spent_tokens",
        "reserved_tokens",
        "overrun_tokens",
        "max_calls",
        "max_tokens",
        "max_commands",
        "max_seconds",
        "steps",
        "max_steps",
        "unpriced_calls",
    )
    money = {f"{name}_usd": as_text(getattr(budget, f"{name}_micro_usd")) for name in ("max", "reserved", "overrun")}
    return {
        **{name: getattr(budget, name) for name in names},
        **{f"{name}_tokens": value or 0 for name, value in sums.items()},
        "unknown_calls": unknown["n"],
        "unknown_tokens": unknown["tokens"] or 0,
        **money,
        "usd": None if budget.unpriced_calls and not budget.spent_micro_usd else as_text(budget.spent_micro_usd),
        "price": known_usd(budget.spent_micro_usd, budget.unpriced_calls),
        "near_limits": near_limits(budget),
    }


def overlaps(goal: Goal) -> list[dict[str, Any]]:
    """Goals at work on the same files, as long as both are; one of another team has no id here."""
    return [asdict(one) for one in overlaps_of(goal)]


def commands(goal: Goal, since: datetime | None = None) -> Sequence[Call]:
    """The commands of agents that have ended (`since` a moment), in the order in which they began."""
    ended = Call.objects.filter(run__goal=goal, kind=CallKind.COMMAND).exclude(status=CallStatus.INTENT)
    if since is not None:
        ended = ended.filter(ended_at__gte=since)
    return list(ended.select_related("run__step").order_by("pk"))


def command(call: Call) -> dict[str, Any]:
    return {
        "step": call.run.step.index if call.run.step else None,
        "command": call.request.get("script", ""),
        "exit_code": call.exit_code,
        "status": call.status,
        "seconds": round(call.duration or 0.0, 2),
    }


def event(row: Event) -> dict[str, Any]:
    names = ("seq", "kind", "subject", "old", "new", "by", "reason", "data")
    return {**{name: getattr(row, name) for name in names}, "at": row.at.isoformat()}


def workers_alive() -> bool:
    return Worker.objects.filter(seen_at__gt=timezone.now() - FRESH).exists()


def _rollout(rollout: Rollout, overs: Mapping[str, Sequence[TakeOver]]) -> dict[str, Any]:
    reviews = Review.objects.filter(rollout=rollout)
    runs = Run.objects.filter(rollout=rollout).select_related("step").order_by("queued_at")
    names = (
        "action",
        "reasoning",
        "suggested_changes",
        "confidence",
        "steps",
        "evidence",
        "findings",
        "by",
        "asks",
        "acted",
    )
    return {
        "number": rollout.number,
        "status": rollout.status,
        "reason": rollout.reason,
        "verified": rollout.verified,
        "hint": rollout.hint,
        "temperature": rollout.temperature,
        "model": rollout.model,
        "score": rollout.score,
        "tokens": rollout.tokens,
        "votes": rollout.votes,
        "head": rollout.head,
        "branch": rollout.branch,
        "patch": rollout.patch_id,
        "patch_sha256": rollout.patch.sha256 if rollout.patch else "",
        "changed_lines": rollout.changed_lines,
        "replans": rollout.replans,
        "plans": _plans(rollout),
        "reviews": [
            {
                **{name: getattr(review, name) for name in names},
                "expires_at": review.expires_at.isoformat() if review.expires_at else "",
            }
            for review in reviews
        ],
        "runs": [_run(run, overs.get(str(run.pk), ())) for run in runs],
    }


def _plans(rollout: Rollout) -> list[dict[str, Any]]:
    """All revisions; each after the first with what it made of the one before."""
    plans = [_plan(plan) for plan in Plan.objects.filter(rollout=rollout).order_by("revision")]
    spent = tokens_by_step(rollout) if len(plans) > 1 else {}
    for before, plan in pairwise(plans):
        tokens = {index: used for (revision, index), used in spent.items() if revision == before["revision"]}
        plan["replan"] = replan_report(before["steps"], plan["steps"], tokens)
    return plans


def _plan(plan: Plan) -> dict[str, Any]:
    steps = [_step(step) for step in Step.objects.filter(plan=plan).order_by("index")]
    return {
        "revision": plan.revision,
        "origin": plan.origin,
        "summary": plan.summary,
        "sha256": plan.sha256,
        "steps": steps,
        "replan": None,
    }


def _step(step: Step) -> dict[str, Any]:
    names = (
        "index",
        "description",
        "status",
        "dependencies",
        "can_parallelize",
        "priority",
        "reason",
        "commit",
        "summary",
    )
    return {
        **{name: getattr(step, name) for name in names},
        "check": step.check_command,
        "carried": step.carried_from_id is not None,
    }


def _run(run: Run, overs: Sequence[TakeOver]) -> dict[str, Any]:
    names = ("kind", "status", "attempt", "losses", "worker", "error_kind", "error", "revision")
    return {
        **{name: getattr(run, name) for name in names},
        "id": str(run.pk),
        "step": run.step.index if run.step else None,
        "take_overs": [{**asdict(over), "at": over.at.isoformat()} for over in overs],
    }


def shown_proof(proof: Proof) -> dict[str, Any]:
    """One line of the proof card: a check before and after, and what that shows."""
    return {
        "command": proof.command,
        "origin": proof.origin,
        "turn": proof.turn,
        "said": proof.said,
        "another_environment": proof.elsewhere,
        "before": proof.before and _proof_side(proof.before),
        "after": proof.after and _proof_side(proof.after),
    }


def _proof_side(check: Check) -> dict[str, Any]:
    names = ("passed", "exit_code", "timed_out", "missing", "flaky", "counts", "commit", "environment")
    return {**{name: getattr(check, name) for name in names}, "log": check.log_id or ""}


def _check(check: Check) -> dict[str, Any]:
    names = ("phase", "origin", "command", "commit", "passed", "exit_code", "timed_out", "missing")
    output = check.output[-2000:] if not check.passed or check.phase != CheckPhase.FINAL else ""
    return {
        **{name: getattr(check, name) for name in names},
        "rollout": check.rollout.number if check.rollout else None,
        "output": output,
    }

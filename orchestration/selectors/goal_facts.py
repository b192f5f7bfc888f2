"""What `why` is told about a goal: read from its rows, said in the words of people."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone

from ..budget import COLUMNS
from ..models import Approval, Breaker, Check, Event, Goal, Question, Review, Rollout, Run, Worker
from ..policies import policy_of
from ..states import LIVE_RUN, ApprovalStatus, GoalStatus, QuestionStatus, RunStatus
from ..why import Facts, LiveRun
from .line import in_line, place_at_workers
from .outages import held_queues

LATE = timedelta(seconds=10)  # a turn that is overdue by more is none any more
FRESH = timedelta(seconds=60)
RUN_WHAT = {"plan": "The planner", "review": "The reviewer", "exam": "The clean room", "judge": "The judge"}
WORKER = re.compile(r"[^\s:]+:\d+:[0-9a-f]+")
Pair = tuple[Check | None, Check | None]  # a check before and after


def facts_of(
    goal: Goal, rollout: Rollout | None, runs: Sequence[Run], checks: Sequence[Pair], unconfirmed: int = 0
) -> Facts:
    queues = _served_queues()
    held = held_queues() if any(run.status == RunStatus.QUEUED for run in runs) else {}
    asked = Q(kind="goal.cancel_asked") | Q(kind="goal.status", new=GoalStatus.PAUSED)
    act = Event.objects.filter(asked, goal=goal).order_by("-seq").first()
    ended = [(before, after) for before, after in checks if after is not None]
    cap = goal.paused_cap
    waits = _waits(goal)
    return Facts(
        status=goal.status,
        reason=goal.reason,
        stuck=goal.stuck,
        paused_cap=cap,
        used=_used(goal, cap),
        limit=getattr(goal.budget, COLUMNS[cap], 0) or 0 if cap in COLUMNS else 0,
        verified=goal.verified,
        checks=len(ended),
        passed=sum(after.passed for _, after in ended),
        turned=sum(before is not None and not before.passed and after.passed for before, after in ended),
        commit=rollout.head if rollout else "",
        live=tuple(_live(run, runs, queues, held) for run in runs if run.status in LIVE_RUN),
        deadline=clock(goal.deadline_at) if goal.deadline_at else "",
        by=_person(act.by) if act else "",
        said=act.reason if act else "",
        decided=goal.selected_id is not None,
        finishes=goal.finishes_running,
        question=_question(goal, runs) or _verdict(goal, runs),
        accepted=_person(goal.unverified_by),
        asks=_asks(waits),
        until=_until(waits),
        line=_line(goal),
        place=_place(runs),
        unconfirmed=unconfirmed,
    )


def _line(goal: Goal) -> str:
    found = in_line(goal)
    return "" if found is None else f"place {found.place} of {found.length}: {found.said}"


def _place(runs: Sequence[Run]) -> str:
    """Of its first queued run, where nothing of the goal is at work."""
    live = [run for run in runs if run.status in LIVE_RUN]
    if not live or any(run.status == RunStatus.RUNNING for run in live):
        return ""
    place = place_at_workers(live[0])
    return "" if place is None or place[1] == 1 else f"{place[0]} of {place[1]}"


def _waits(goal: Goal) -> Approval | None:
    if goal.status != GoalStatus.AWAITING_APPROVAL:
        return None
    return Approval.objects.filter(goal=goal, status=ApprovalStatus.WAITING).first()


def _question(goal: Goal, runs: Sequence[Run]) -> str:
    """Looked up only where some run has asked."""
    if not any(run.status == RunStatus.ASKED for run in runs):
        return ""
    waiting = Question.objects.filter(goal=goal, status=QuestionStatus.WAITING).select_related("step")
    found = waiting.order_by("created_at").first()
    return f"Step {found.step.index} asks: {found.text}" if found is not None else ""


def _verdict(goal: Goal, runs: Sequence[Run]) -> str:
    """Looked up only where nothing is under way after a review."""
    if goal.status != GoalStatus.REVIEWING or any(run.status in LIVE_RUN for run in runs):
        return ""
    waiting = Review.objects.filter(rollout__goal=goal, acted=False).exclude(asks="").first()
    if waiting is None:
        return ""
    then = _unless(policy_of(goal.approval).on_expiry, waiting.expires_at) if waiting.expires_at else ""
    return f"A verdict waits for a person ({waiting.asks}). {then}".strip()


def _asks(approval: Approval | None) -> str:
    if approval is None:
        return ""
    return "; ".join(approval.asks) or "it was to stop after its plan, and goes on when somebody runs it"


def _until(approval: Approval | None) -> str:
    if approval is None or approval.expires_at is None:
        return ""
    return _unless(approval.on_expiry, approval.expires_at)


def _unless(on_expiry: str, at: datetime) -> str:
    then = "the goal ends" if on_expiry == "reject" else "the goal is paused"
    return f"Without a decision {then} at {timezone.localtime(at):%Y-%m-%d %H:%M}."


def _live(run: Run, runs: Sequence[Run], queues: set[str], held: Mapping[str, Breaker]) -> LiveRun:
    running = run.status == RunStatus.RUNNING
    begun = run.started_at if running and run.started_at else run.queued_at
    earlier = [
        r for r in runs if (r.step_id, r.kind, r.rollout_id) == (run.step_id, run.kind, run.rollout_id) and r.ended_at
    ]
    return LiveRun(
        what=f"Step {run.step.index}" if run.step else RUN_WHAT[run.kind],
        queue=run.queue,
        running=running,
        worker=short_worker(run.worker),
        since=clock(begun),
        wait=max(0.0, (run.not_before - timezone.now()).total_seconds()),
        attempt=run.attempt,
        last_error=earlier[-1].error_kind if earlier else "",
        served=run.queue in queues,
        waits_for=("" if running else _outage(held.get(run.queue))) or _limits(run),
    )


def _outage(breaker: Breaker | None) -> str:
    if breaker is None:
        return ""
    since = f" since {clock(breaker.opened_at)}" if breaker.opened_at else ""
    return f"{breaker}{since}: {breaker.last_error}"


def _limits(run: Run) -> str:
    """Whose limits hold it back, and until when."""
    if run.waiting_until is None or run.waiting_until < timezone.now() - LATE:
        return ""
    return f"{run.waiting_for}, until {clock(run.waiting_until)}"


def _used(goal: Goal, cap: str) -> int:
    if cap == "seconds":
        return int((timezone.now() - goal.started_at).total_seconds()) if goal.started_at else 0
    return int(
        {"tokens": goal.budget.spent_tokens, "usd": goal.budget.spent_micro_usd}.get(
            cap, getattr(goal.budget, cap, 0) if cap else 0
        )
    )


def _person(by: str) -> str:
    return {"shell": "Somebody at the shell", "engine": "The engine"}.get(by, by)


def is_worker(name: str) -> bool:
    """host:pid:start, as a worker process calls itself; no user name has a colon."""
    return WORKER.fullmatch(name) is not None


def short_worker(name: str) -> str:
    """host:pid of host:pid:start."""
    return name.rpartition(":")[0] if is_worker(name) else name


def clock(at: datetime) -> str:
    return f"{timezone.localtime(at):%H:%M:%S}"


def _served_queues() -> set[str]:
    alive = Worker.objects.filter(seen_at__gt=timezone.now() - FRESH)
    return {queue for queues in alive.values_list("queues", flat=True) for queue in queues}

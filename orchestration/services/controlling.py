"""What a person decides about a goal: cancel, pause, resume, retry; and how a run stands down because of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models.functions import Now
from django.utils import timezone

from ..allotments import shut
from ..budget import ALL_NAMES, COLUMNS
from ..cancelling import FORCE_AFTER, may_force
from ..errors import BadInput, IllegalMove
from ..hotpath import lose_abandoned_calls
from ..models import Budget, Goal, Run
from ..pricing import in_usd, micro_usd, usd
from ..selectors.cancelling import cancel_proof
from ..states import GoalStatus, RolloutStatus, RunStatus
from ..transitions import Change, locked, repeatable
from .admission import line_up
from .advancing import advance
from .cleaning import clean_line
from .eyes import refuse_raise_by_two_eyes

GO_ON_AS_THEY_ARE = frozenset(
    {"overrun", "price", "team_usd"}
)  # no limit of the goal that could be raised is the reason
CAP_NAMES = {"team_usd": "its team's month"}
WHY_PAUSED = "the goal reached its limit of {cap}: {reason}"


@repeatable
def cancel_goal(goal_id: Any, *, by: str = "shell", reason: str = "", force: bool = False) -> Goal:
    """Acknowledged at once: from this commit on no call is begun. Running work is told by its worker's next heartbeat.

    The goal is `cancelling` until the end of each thing is confirmed (`cancelling.confirmations`). `force`, ten seconds after that
    was asked: it ends without what is not confirmed yet. Raises IllegalMove when it is too early, or too late.
    """
    reason = clean_line(reason, "the reason", 500)
    with locked(goal_id, by=by) as change:
        goal = change.goal
        if goal.is_terminal:
            raise IllegalMove(f"goal {goal.short_id} is {goal.status} already; there is nothing left to cancel")
        if force:
            _force(change, reason)
        first = goal.cancelled_at is None
        if first:
            goal.cancelled_at = timezone.now()
            change.note("goal.cancel_asked", reason=reason)
        if goal.status != GoalStatus.CANCELLING:
            change.move(goal, GoalStatus.CANCELLING, reason=reason or "cancelled")
        advance(change)
        Budget.objects.filter(goal=goal).update(open=False)
        if (
            first
        ):  # until the gate's row was ours a call may have been begun: the time of the cancel is that of the shut gate
            Goal.objects.filter(pk=goal.pk).update(cancelled_at=timezone.now())
        return goal


def _force(change: Change, reason: str) -> None:
    """Fence the workers off that have not let go: what they still report is refused, and their calls in flight become unknown."""
    goal = change.goal
    if goal.cancelled_at is None:
        raise IllegalMove(f"goal {goal.short_id} is {goal.status}: cancel it first; force is for a cancel that hangs")
    if not may_force(goal.cancelled_at, timezone.now()):
        left = (goal.cancelled_at + FORCE_AFTER - timezone.now()).total_seconds()
        raise IllegalMove(f"what runs has {FORCE_AFTER.seconds} seconds to stop; it can be forced in {left:.0f} s")
    open_ends = [f"{one.what}: {one.subject}" for one in cancel_proof(goal) if one.confirmed_at is None]
    change.note("goal.forced", reason=reason, data={"unconfirmed": open_ends})
    for run in Run.objects.filter(goal=goal, status=RunStatus.RUNNING):
        change.move(run, RunStatus.CANCELLED, reason="ended by force", fence=run.fence + 1, lease_until=Now())
    Run.objects.filter(goal=goal, lease_until__gt=Now()).update(lease_until=Now())  # nobody is waited for any more
    lose_abandoned_calls(goal)


@repeatable
def pause_goal(
    goal_id: Any, *, cap: str = "", reason: str = "", by: str = "engine", finish_running: bool = False
) -> Goal:
    """Keep the work and begin no run more. `cap` names the limit that was reached, if one was; without one, a person wants it.

    What runs stops at its next safe point; with `finish_running` it goes on to its own end, calls included. A second pause
    is no error; one without `finish_running` stops what the first let go on. Raises IllegalMove for a person who comes too late.
    """
    reason = reason if cap else clean_line(reason, "the reason", 500)
    with locked(goal_id, by=by) as change:
        goal = change.goal
        if not cap and (goal.is_terminal or goal.cancelled_at is not None):
            raise IllegalMove(f"goal {goal.short_id} is {goal.status}; there is nothing left to pause")
        if goal.is_gated:
            return goal if cap or finish_running else _stop_what_goes_on(change, reason)
        if finish_running:
            Budget.objects.filter(goal=goal).update(open=True)
        else:
            shut(goal.pk)
        why = WHY_PAUSED.format(cap=CAP_NAMES.get(cap, cap), reason=reason) if cap else reason
        data = {"cap": cap, "finish_running": finish_running}
        change.move(goal, GoalStatus.PAUSED, reason=why, paused_cap=cap, finishes_running=finish_running, data=data)
        return goal


def _stop_what_goes_on(change: Change, reason: str) -> Goal:
    goal = change.goal
    if goal.finishes_running:
        goal.finishes_running = False
        Goal.objects.filter(pk=goal.pk).update(finishes_running=False)
        shut(goal.pk)
        change.note("goal.pause_stops", reason=reason)
    return goal


@repeatable
def resume_goal(goal_id: Any, *, limits: Mapping[str, Any] | None = None, by: str = "shell", reason: str = "") -> Goal:
    """Go on after a pause; a person may raise limits here (calls, tokens, commands, seconds, steps, usd: the new totals).

    Where four eyes are wanted, whoever asked for the goal may not raise them.
    """
    reason = clean_line(reason, "the reason", 500)
    with locked(goal_id, by=by) as change:
        goal = change.goal
        if goal.status != GoalStatus.PAUSED:
            raise IllegalMove(f"goal {goal.short_id} is {goal.status}; only a paused goal can be resumed")
        budget = Budget.objects.get(goal=goal)
        raised = _raise_limits(goal, budget, limits or {})
        if raised:
            refuse_raise_by_two_eyes(goal, by, reason)
        cap = goal.paused_cap
        if cap and cap not in raised and cap not in GO_ON_AS_THEY_ARE:
            raise BadInput(f"goal {goal.short_id} paused at its limit of {cap}: resume it with a higher one")
        if "seconds" in raised:
            started = goal.started_at or timezone.now()
            Goal.objects.filter(pk=goal.pk).update(deadline_at=started + timedelta(seconds=raised["seconds"]))
        change.move(
            goal,
            GoalStatus.QUEUED,
            reason=reason,
            paused_cap="",
            finishes_running=False,
            data={"limits": _told(raised)},
        )
        Goal.objects.filter(pk=goal.pk).update(
            reason=""
        )  # why it paused is over, and why it goes on is among the events
        goal.reason = ""
        line_up(change, goal.team)
        advance(change)
        higher: dict[str, Any] = {COLUMNS[name]: value for name, value in raised.items()}
        if "tokens" in raised:
            higher["tokens_limited"] = True
        higher["warned"] = [name for name in budget.warned if name not in raised]
        Budget.objects.filter(goal=goal).update(open=not goal.is_gated, **higher)
        for run in Run.objects.filter(goal=goal, status=RunStatus.QUEUED):
            change.wake(run)
        return goal


def _raise_limits(goal: Goal, budget: Budget, limits: Mapping[str, Any]) -> dict[str, int]:
    """The new totals, an amount in micro-USD."""
    if unknown := sorted(set(limits) - set(ALL_NAMES)):
        raise BadInput(f"unknown limits {unknown}; there are {', '.join(ALL_NAMES)}")
    return {name: _higher(goal, budget, name, value) for name, value in limits.items()}


def _higher(goal: Goal, budget: Budget, name: str, given: Any) -> int:
    try:
        value = micro_usd(given) if name == "usd" else given
    except ValueError as error:
        raise BadInput(str(error)) from error
    first = name == "tokens" and goal.paused_cap == "price"  # its first limit of tokens, beside one in USD
    present = budget.spent_tokens if first else getattr(budget, COLUMNS[name])
    if present is None:
        raise BadInput(f"goal {goal.short_id} has no limit of {ALL_NAMES[name]}, so there is none to raise")
    if not isinstance(value, int) or isinstance(value, bool) or value <= present:
        is_now = in_usd(present) if name == "usd" else str(present)
        raise BadInput(f"the limit of {name} is {is_now}; to go on it must be raised, and {given!r} does not")
    return value


def _told(raised: Mapping[str, int]) -> dict[str, Any]:
    return {name: str(usd(value)) if name == "usd" else value for name, value in raised.items()}


@repeatable
def stand_down(
    run: Run, reason: str, *, delay: float = 0.0, let_go: bool = False, about: Mapping[str, Any] | None = None
) -> None:
    """A run that was told to stop, or that has to wait for the world: given back without a loss, or ended with its goal.

    `let_go`: its sandboxes are gone for certain. `about`: more for its event.
    """
    with locked(run.goal_id, by=run.worker) as change:
        now = Run.objects.select_related("rollout").get(pk=run.pk)
        if now.fence != run.fence or now.status != RunStatus.RUNNING:
            return
        due = {"not_before": Now() + timedelta(seconds=delay)} if delay else {}
        gone = {"sandbox_gone_at": timezone.now()} if let_go else {}
        end_or_requeue(change, now, reason, about, **due, **gone)
        advance(change)


@repeatable
def lose_sandbox(run: Run, reason: str) -> None:
    """The machine of a run is gone, not its worker: the same Run goes on in a new one, with one loss more."""
    with locked(run.goal_id, by=run.worker) as change:
        now = Run.objects.select_related("rollout").get(pk=run.pk)
        if now.fence != run.fence or now.status != RunStatus.RUNNING:
            return
        count_loss(change, now, f"the sandbox of {run.worker}", reason)
        advance(change)


def count_loss(change: Change, run: Run, lost: str, reason: str, **fields: Any) -> None:
    """The same Run again, with one loss more; after MAX_LOSSES a broken attempt that names what was lost."""
    after = {"losses": run.losses + 1, "lost_workers": [*run.lost_workers, lost], **fields}
    if after["losses"] >= settings.MAX_LOSSES:
        error = (
            f"it lost {after['losses']} workers or sandboxes: {', '.join(after['lost_workers'])}; the last: {reason}"
        )
        change.move(run, RunStatus.ERRORED, reason=error, error_kind="lost", error=error, **after)
    else:
        end_or_requeue(change, run, reason, **after)


def end_or_requeue(change: Change, run: Run, reason: str, more: Mapping[str, Any] | None = None, **fields: Any) -> None:
    """The same Run again for somebody else, or its end where nothing may be begun any more."""
    step = {"step": run.step.index} if run.step else {}
    about = {"run": str(run.pk), "attempt": run.attempt, **step, **(more or {})}
    stopping = change.goal.cancelled_at is not None or run.rollout.status == RolloutStatus.CANCELLING
    if stopping or change.goal.is_terminal:
        change.move(run, RunStatus.CANCELLED, reason=reason, data=about, **fields)
        return
    back = {"lease_until": None, "deadline_at": None, "worker": "", "not_before": Now(), "enqueued_at": None}
    if change.move(run, RunStatus.QUEUED, reason=reason, data=about, **(back | fields)) and "not_before" not in fields:
        change.wake(run)

"""sweep: what nobody else noticed. Expired leases, deadlines, rollouts that nobody advanced, runs that nobody was woken for.

Every part is a conditional change under the goal's lock, so two sweeps at once are harmless.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from .. import dispatch
from ..models import Approval, Artifact, Goal, Lease, Question, Review, Rollout, Run, Worker
from ..selectors.hours import goals_whose_hours_count, undecided
from ..selectors.line import teams_in_line
from ..states import (
    LIVE_RUN,
    OPEN_GOAL,
    OPEN_ROLLOUT,
    TERMINAL_ROLLOUT,
    ApprovalStatus,
    GoalStatus,
    QuestionStatus,
    RunStatus,
)
from ..transitions import locked, repeatable
from .admission import admit_waiting
from .advancing import advance, advance_goal
from .approving import expire_approval
from .asking import expire_question
from .controlling import count_loss, pause_goal, resume_goal
from .months import (
    enlist,
    goals_to_enlist,
    goals_with_a_rest,
    goals_with_room_again,
    months_to_warn,
    return_rest,
    warn_of_month,
)
from .overlapping import pairs_to_tell, tell_pair
from .overriding import expire_verdict
from .warning import goals_near_a_limit, warn_of_limits

log = logging.getLogger(__name__)
WAKE_AGAIN = timedelta(seconds=15)
WORKER_GONE = timedelta(days=1)
MOST_AT_ONCE = 200


def sweep() -> dict[str, int]:
    """One pass over everything; how many rows each part changed. One goal's trouble never stops the others."""
    counts = {
        "leases": _each(_lost_runs(), _lose),
        "deadlines": _each(_overdue_runs(), _overrun),
        "goals_paused": _each(
            _overdue_goals(), lambda pk: bool(pause_goal(pk, cap="seconds", reason="its hours are used"))
        ),
        "warned": _each(goals_near_a_limit(MOST_AT_ONCE), warn_of_limits),
        "enlisted": _each(goals_to_enlist(), enlist),
        "returned": _each(goals_with_a_rest(), return_rest),
        "months_warned": _each(months_to_warn(), warn_of_month),
        "room_again": _each(goals_with_room_again(), _go_on),
        "overlaps": _each(pairs_to_tell(), tell_pair),
        "approvals": _each(_expired_approvals(), expire_approval),
        "verdicts": _each(_expired_verdicts(), expire_verdict),
        "questions": _each(_expired_questions(), expire_question),
        "admitted": _each(teams_in_line(), lambda pk: admit_waiting(pk) > 0),
        "advanced": _each(_idle_goals(), lambda pk: advance_goal(pk) is None),
        "woken": wake_forgotten(),
    }
    Artifact.objects.filter(expires_at__lt=Now()).delete()
    Worker.objects.filter(seen_at__lt=Now() - WORKER_GONE).delete()
    return counts


@repeatable
def take_turn(name: str, holder: str, seconds: float) -> bool:
    """One holder at a time does the job `name`, for `seconds` or until it takes its next turn."""
    until = Now() + timedelta(seconds=seconds)
    Lease.objects.bulk_create(
        [Lease(name=name, holder="", until=timezone.now() - timedelta(days=1))], ignore_conflicts=True
    )
    free = Q(holder=holder) | Q(until__lt=Now())
    return bool(Lease.objects.filter(free, name=name).update(holder=holder, until=until))


def wake_forgotten() -> int:
    """Tell workers of queued runs whose wake-up is missing or old; as many as the living threads could take at once."""
    threads = sum(Worker.objects.filter(seen_at__gt=Now() - timedelta(seconds=60)).values_list("threads", flat=True))
    old = Q(enqueued_at__isnull=True) | Q(enqueued_at__lt=Now() - WAKE_AGAIN)
    found = list(wakeable().filter(old).values_list("pk", "kind")[: 2 * threads])
    if found:
        Run.objects.filter(pk__in=[pk for pk, _ in found], status=RunStatus.QUEUED).update(enqueued_at=Now())
        dispatch.wake([(str(pk), kind) for pk, kind in found])
    return len(found)


def wakeable() -> QuerySet[Run]:
    """The queued runs that a worker could begin now, the most urgent first (a piece called by hand is worked by its own task)."""
    due = Run.objects.filter(status=RunStatus.QUEUED, not_before__lte=Now(), goal__cancelled_at__isnull=True)
    due = due.exclude(goal__status__in=(GoalStatus.PAUSED, GoalStatus.AWAITING_APPROVAL)).filter(goal__only="")
    due = due.filter(goal__in_line_since__isnull=True)
    return due.order_by("-priority", "queued_at")


# ---- runs


def _lost_runs() -> Iterable[Any]:
    return Run.objects.filter(status=RunStatus.RUNNING, lease_until__lt=Now()).values_list("pk", flat=True)[
        :MOST_AT_ONCE
    ]


@repeatable
def _lose(run_pk: Any) -> bool:
    """An expired lease: the same run again, with a new fence and one loss more; after MAX_LOSSES a broken attempt."""
    goal_id = Run.objects.values_list("goal_id", flat=True).get(pk=run_pk)
    with locked(goal_id, by="housekeeper") as change:
        expired = Run.objects.filter(pk=run_pk, status=RunStatus.RUNNING, lease_until__lt=Now())
        run = expired.select_related("rollout").first()
        if run is None:
            return False
        count_loss(change, run, run.worker, f"worker {run.worker} was lost", fence=run.fence + 1)
        advance(change)
        return True


def _overdue_runs() -> Iterable[Any]:
    return Run.objects.filter(status=RunStatus.RUNNING, deadline_at__lt=Now()).values_list("pk", flat=True)[
        :MOST_AT_ONCE
    ]


@repeatable
def _overrun(run_pk: Any) -> bool:
    """A run over its deadline is broken, however lively its worker is; the fence keeps its late report out."""
    goal_id = Run.objects.values_list("goal_id", flat=True).get(pk=run_pk)
    with locked(goal_id, by="housekeeper") as change:
        run = Run.objects.filter(pk=run_pk, status=RunStatus.RUNNING, deadline_at__lt=Now()).first()
        if run is None:
            return False
        error = f"it took longer than {settings.RUN_DEADLINE_SECONDS[run.kind]} seconds ({run.kind.upper()}_DEADLINE_SECONDS)"
        change.move(run, RunStatus.ERRORED, reason=error, error_kind="deadline", error=error, fence=run.fence + 1)
        advance(change)
        return True


# ---- goals


def _expired_approvals() -> Iterable[Any]:
    late = Approval.objects.filter(status=ApprovalStatus.WAITING, expires_at__lt=Now(), goal__cancelled_at=None)
    return late.exclude(goal__status=GoalStatus.PAUSED).values_list("pk", flat=True)[:MOST_AT_ONCE]


def _expired_questions() -> Iterable[Any]:
    late = Question.objects.filter(status=QuestionStatus.WAITING, expires_at__lt=Now(), goal__cancelled_at=None)
    return late.exclude(goal__status=GoalStatus.PAUSED).values_list("pk", flat=True)[:MOST_AT_ONCE]


def _expired_verdicts() -> Iterable[Any]:
    late = Review.objects.filter(acted=False, expires_at__lt=Now(), rollout__goal__cancelled_at=None)
    late = late.filter(rollout__goal__status__in=OPEN_GOAL).exclude(rollout__goal__status=GoalStatus.PAUSED)
    return late.values_list("pk", flat=True)[:MOST_AT_ONCE]


def _go_on(pk: Any) -> bool:
    return bool(resume_goal(pk, by="housekeeper", reason="its team's month has room again"))


def _overdue_goals() -> Iterable[Any]:
    overdue = goals_whose_hours_count().filter(deadline_at__lt=Now())
    return overdue.values_list("pk", flat=True)[:MOST_AT_ONCE]


def _idle_goals() -> Iterable[Any]:
    """Open goals with a rollout that has no live run, or with no open rollout left: somebody ought to have advanced them."""
    live = Run.objects.filter(rollout=OuterRef("pk"), status__in=LIVE_RUN)
    idle = Rollout.objects.filter(~Exists(live), goal=OuterRef("pk"), status__in=OPEN_ROLLOUT)
    idle = idle.exclude(pk__in=undecided())
    ended = ~Exists(Rollout.objects.filter(goal=OuterRef("pk")).exclude(status__in=TERMINAL_ROLLOUT))
    goals = Goal.objects.filter(Exists(idle) | ended, status__in=OPEN_GOAL)
    goals = goals.exclude(status__in=(GoalStatus.PAUSED, GoalStatus.AWAITING_APPROVAL))
    goals = goals.exclude(in_line_since__isnull=False, cancelled_at__isnull=True)
    return goals.values_list("pk", flat=True)[:MOST_AT_ONCE]


def _each(keys: Iterable[Any], change: Callable[[Any], bool]) -> int:
    changed = 0
    for key in list(keys):
        try:
            changed += bool(change(key))
        except Exception:
            log.exception("sweep could not deal with %s; it goes on with the next", key)
    return changed

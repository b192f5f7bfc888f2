"""Reads for the audit: a goal's rows as `invariants.History`, a batch of goals in one consistent snapshot."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, F, Max, OuterRef, QuerySet, Subquery, Sum
from django.utils import timezone

from ..invariants import (
    BudgetFacts,
    CallFacts,
    EventFacts,
    GoalFacts,
    History,
    RolloutFacts,
    RunFacts,
    StepFacts,
)
from ..models import Approval, Budget, Call, Event, Goal, Occurrence, Question, Review, Rollout, Run, Step, TeamMonth
from ..pricing import MICRO
from ..states import ApprovalStatus, QuestionStatus, RunStatus

AT_ONCE = 50  # goals in one snapshot: on SQLite it keeps writers waiting


def histories(goals: QuerySet[Goal]) -> Iterator[tuple[Goal, History]]:
    """Every goal of the query with its history; nine queries a batch."""
    ids = list(goals.order_by("created_at").values_list("pk", flat=True))
    for start in range(0, len(ids), AT_ONCE):
        some = ids[start : start + AT_ONCE]
        with transaction.atomic():
            if connection.vendor == "postgresql":
                connection.cursor().execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            found = list(_histories(some))
        yield from found


def goals_twice_due() -> list[tuple[Any, datetime]]:
    """(schedule, due time) that more than one goal was made for. The database forbids it; an audit looks all the same."""
    twice = Occurrence.objects.values_list("schedule_id", "due_at").annotate(n=Count("pk")).filter(n__gt=1)
    return [(schedule, due_at) for schedule, due_at, _ in twice]


def months_not_drawn() -> Iterable[Any]:
    """Teams' months of which goals have more (`of_goals`) than was drawn."""
    budgets = Budget.objects.filter(allotted_from=OuterRef("pk")).order_by().values("allotted_from")
    of_goals = budgets.annotate(n=Sum(F("allotted_micro_usd") - F("allotted_before_micro_usd"))).values("n")
    months = TeamMonth.objects.select_related("team").annotate(of_goals=Subquery(of_goals))
    return months.filter(drawn_micro_usd__lt=F("of_goals"))


def _histories(ids: Sequence[Any]) -> Iterator[tuple[Goal, History]]:
    now = timezone.now()
    budgets = {row.pk: row for row in Budget.objects.filter(pk__in=ids)}
    last = dict(Event.objects.filter(goal__in=ids).values_list("goal").annotate(Max("at")))
    asks = _waiting(ids)
    rows = {
        "rollouts": _by_goal(Rollout.objects.filter(goal__in=ids), "goal_id", _rollout),
        "steps": _by_goal(
            Step.objects.filter(rollout__goal__in=ids).select_related("rollout"), "rollout.goal_id", _step
        ),
        "runs": _by_goal(Run.objects.filter(goal__in=ids), "goal_id", lambda run: _run(run, now)),
        "calls": _by_goal(_calls(ids), "run.goal_id", _call),
        "events": _by_goal(Event.objects.filter(goal__in=ids).order_by("goal", "seq"), "goal_id", _event),
    }
    for goal in Goal.objects.filter(pk__in=ids):
        its = {name: tuple(found.get(goal.pk, ())) for name, found in rows.items()}
        age = now - max(last.get(goal.pk, goal.created_at), goal.created_at)
        yield goal, History(_goal(goal, age, asks[goal.pk]), _budget(budgets.get(goal.pk)), **its)


def _waiting(ids: Sequence[Any]) -> Counter[Any]:
    """How many approvals, questions and verdicts of each goal wait for a person."""
    approvals = Approval.objects.filter(goal__in=ids, status=ApprovalStatus.WAITING)
    questions = Question.objects.filter(goal__in=ids, status=QuestionStatus.WAITING)
    verdicts = Review.objects.filter(rollout__goal__in=ids, acted=False).exclude(asks="")
    rows = [(approvals, "goal_id"), (questions, "goal_id"), (verdicts, "rollout__goal_id")]
    return Counter(goal for found, of in rows for goal in found.order_by().values_list(of, flat=True))


def _calls(ids: Sequence[Any]) -> QuerySet[Call]:
    """Without what was said: prompts and answers are large."""
    told = ("run__goal_id", "turn", "index", "kind", "status", "fence", "started_at", "reserved_tokens")
    calls = Call.objects.filter(run__goal__in=ids).select_related("run").order_by("pk")
    return calls.only(*told, "prompt_tokens", "completion_tokens", "reserved_micro_usd", "cost")


def _by_goal(rows: Iterable[Any], path: str, facts: Any) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = defaultdict(list)
    for row in rows:
        owner = row
        for name in path.split("."):
            owner = getattr(owner, name)
        found[owner].append(facts(row))
    return found


def _goal(goal: Goal, age: timedelta, asks: int) -> GoalFacts:
    return GoalFacts(
        status=goal.status,
        event_seq=goal.event_seq,
        age=age,
        base_sha=goal.base_sha,
        selected=goal.selected_id,
        cancelled_at=goal.cancelled_at,
        # a follow-up of a result without a branch starts above its base, as a retry does
        is_retry=goal.retry_of_id is not None or (goal.follow_up_of_id is not None and not goal.base_ref),
        stuck=goal.stuck,
        asks=asks,
        in_line=goal.in_line_since is not None,
    )


def _budget(row: Budget | None) -> BudgetFacts | None:
    if row is None:
        return None
    return BudgetFacts(
        row.open,
        row.calls,
        row.commands,
        row.reserved_tokens,
        row.spent_tokens,
        micro_reserved=row.reserved_micro_usd,
        micro_spent=row.spent_micro_usd,
        micro_overrun=row.overrun_micro_usd,
        micro_max=row.max_micro_usd,
        micro_allotted=row.allotted_micro_usd,
    )


def _rollout(row: Rollout) -> RolloutFacts:
    return RolloutFacts(row.pk, row.number, row.status)


def _step(row: Step) -> StepFacts:
    return StepFacts(row.pk, row.rollout_id, row.plan_id, row.index, row.status, tuple(row.dependencies), row.commit)


def _run(row: Run, now: datetime) -> RunFacts:
    late = now - row.lease_until if row.status == RunStatus.RUNNING and row.lease_until else timedelta(0)
    return RunFacts(row.pk, row.rollout_id, row.kind, row.status, row.fence, row.step_id, row.base_commit, late)


def _call(row: Call) -> CallFacts:
    billed = row.prompt_tokens + row.completion_tokens
    at = (row.run_id, row.turn, row.index)
    money = (row.reserved_micro_usd or 0, int((row.cost or 0) * MICRO))
    return CallFacts(*at, row.kind, row.status, row.fence, row.started_at, billed, row.reserved_tokens, *money)


def _event(row: Event) -> EventFacts:
    noun, _, what = row.kind.partition(".")
    if what != "status":
        return EventFacts(row.seq)
    return EventFacts(row.seq, noun, str(row.data.get("id", "")), row.old, row.new, int(row.data.get("fence", 0)))

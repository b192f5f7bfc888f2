"""Goals as rows of a list, and a page of them: a constant number of queries, and only the beginnings of their texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Count, F, Q, QuerySet
from django.db.models.functions import Left
from django.utils import timezone

from ..models import Goal, Run, Step
from ..rendering.text import one_line
from ..states import FINISHED_STEP, LIVE_RUN, GoalStatus, RunKind, RunStatus

TITLE = 300  # characters of a goal's text that a list reads
SHOWN, REASON = 100, 160  # characters of it, and of a reason, that a list shows
COLUMNS = (
    "id",
    "status",
    "verified",
    "reason",
    "stuck",
    "base_ref",
    "checks",
    "rollouts_wanted",
    "origin",
    "created_at",
    "started_at",
    "ended_at",
    "cancelled_at",
    "repository__path",
    "submitted_by__username",
    "team__name",
)


@dataclass(frozen=True, slots=True)
class Work:
    """What the live runs of a goal are: (kind, step's index, running?) each."""

    running: tuple[tuple[str, int | None], ...] = ()
    queued: tuple[str, ...] = ()  # the queues


@dataclass(frozen=True, slots=True)
class GoalRow:
    goal: Goal
    title: str
    done: int = 0
    steps: int = 0
    work: Work = Work()
    unserved: frozenset[str] = frozenset()

    @property
    def shown(self) -> str:
        """The status as pages show it."""
        if self.goal.status == GoalStatus.SUCCEEDED:
            return "succeeded" if self.goal.verified else "unverified"
        return str(self.goal.status)

    @property
    def seconds(self) -> float | None:
        if self.goal.started_at is None:
            return None
        return max(0.0, ((self.goal.ended_at or timezone.now()) - self.goal.started_at).total_seconds())

    @property
    def changed_at(self) -> datetime:
        return self.goal.ended_at or self.goal.created_at

    @property
    def words(self) -> str:
        said = row_words(self)
        return said[:1].upper() + said[1:]


def row_words(row: GoalRow) -> str:
    """Why it is in this state, in the few words that a list has room for."""
    goal, work = row.goal, row.work
    if goal.stuck:
        return "Stuck: the engine itself failed on it"
    if goal.status == GoalStatus.SUCCEEDED:
        return "Every check passed on the result" if goal.verified else "No check proved it: read the changes"
    if goal.is_terminal or goal.status == GoalStatus.PAUSED:
        return one_line(goal.reason, REASON)
    if goal.status == GoalStatus.CANCELLING:
        return f"{len(work.running)} run(s) still stop" if work.running else "Nothing new is begun"
    if work.running:
        return f"{_counted(row)}{_running(work)}"
    if lonely := sorted(set(work.queued) & row.unserved):
        return f"No worker serves the {lonely[0]} queue"
    return f"{_counted(row)}{'waits for a free worker' if work.queued else 'nothing of it runs now'}"


def _counted(row: GoalRow) -> str:
    return f"{row.done} of {row.steps} steps, " if row.steps else ""


def _running(work: Work) -> str:
    steps = sorted(index for kind, index in work.running if kind == RunKind.STEP and index is not None)
    if len(steps) == 1:
        return f"step {steps[0]} runs"
    if steps:
        return f"{len(steps)} steps run"
    return "the planner works" if any(kind == RunKind.PLAN for kind, _ in work.running) else "the reviewer works"


def goal_rows(goals: QuerySet[Goal], unserved: Iterable[str] = ()) -> list[GoalRow]:
    """Three queries, however many goals: the goals, their steps, their live runs. The caller has ordered and cut the queryset."""
    found = list(
        goals.select_related("repository", "submitted_by", "team").annotate(head=Left("text", TITLE)).only(*COLUMNS)
    )
    keys = [goal.pk for goal in found]
    counted, works, alone = _steps(keys), _works(keys), frozenset(unserved)
    return [
        GoalRow(
            goal,
            one_line(goal.head, SHOWN) or str(goal),
            *counted.get(goal.pk, (0, 0)),
            works.get(goal.pk, Work()),
            alone,
        )
        for goal in found
    ]


def _steps(keys: Sequence[UUID]) -> dict[UUID, tuple[int, int]]:
    """(finished, all) of the newest plan revision of the rollout that is furthest."""
    rows = (
        Step.objects.filter(rollout__goal__in=keys)
        .values(goal=F("rollout__goal"), number=F("rollout__number"), revision=F("plan__revision"))
        .annotate(every=Count("pk"), done=Count("pk", filter=Q(status__in=FINISHED_STEP)))
        .order_by("goal", "number", "revision")
    )
    newest: dict[tuple[UUID, int], tuple[int, int]] = {}
    for row in rows:
        newest[row["goal"], row["number"]] = (row["done"], row["every"])
    best: dict[UUID, tuple[int, int]] = {}
    for (goal, _), pair in newest.items():
        best[goal] = max(best.get(goal, (-1, 0)), pair)
    return best


def _works(keys: Sequence[UUID]) -> dict[UUID, Work]:
    runs = Run.objects.filter(goal__in=keys, status__in=LIVE_RUN).values_list(
        "goal", "kind", "step__index", "status", "queue"
    )
    running: dict[UUID, list[tuple[str, int | None]]] = {}
    queued: dict[UUID, list[str]] = {}
    for goal, kind, index, status, queue in runs:
        if status == RunStatus.RUNNING:
            running.setdefault(goal, []).append((kind, index))
        else:
            queued.setdefault(goal, []).append(queue)
    return {
        key: Work(tuple(running.get(key, ())), tuple(queued.get(key, ()))) for key in running.keys() | queued.keys()
    }


def shown_counts(goals: QuerySet[Goal]) -> dict[str, int]:
    """How many goals are shown with each status: one query. A success that no check proved counts as `unverified`."""
    counts: Counter[str] = Counter()
    for status, verified, n in goals.values_list("status", "verified").annotate(n=Count("pk")).order_by():
        counts["unverified" if status == GoalStatus.SUCCEEDED and not verified else status] += n
    return dict(counts)


# ---- a page of the list: newest first, addressed by the goal at its edge, so that new goals move nothing


@dataclass(frozen=True, slots=True)
class Page:
    rows: list[GoalRow]
    count: int  # that match
    of: int  # that there are
    older_than: UUID | None = None  # where the next page begins; None: there is none
    newer_than: UUID | None = None


def goal_page(
    goals: QuerySet[Goal],
    matching: QuerySet[Goal],
    *,
    size: int,
    older_than: UUID | None = None,
    newer_than: UUID | None = None,
    unserved: Iterable[str] = (),
) -> Page:
    """`size` goals on one side of an edge. An edge that is not among `goals` is ignored: then it is the first page."""
    wanted = older_than or newer_than
    edge = goals.filter(pk=wanted).values_list("created_at", "pk").first() if wanted else None
    up = edge is not None and older_than is None
    side, order = (("gt", ""), ("lt", "-"))[not up]
    chosen = matching.order_by(f"{order}created_at", f"{order}pk")
    if edge is not None:
        at, pk = edge
        chosen = chosen.filter(Q(**{f"created_at__{side}": at}) | Q(created_at=at, **{f"pk__{side}": pk}))
    rows = goal_rows(chosen[: size + 1], unserved)
    more, rows = len(rows) > size, rows[:size]
    if up:
        rows.reverse()
    before, after = (more, True) if up else (edge is not None, more)
    return Page(
        rows,
        matching.count(),
        goals.count(),
        older_than=rows[-1].goal.pk if rows and after else None,
        newer_than=rows[0].goal.pk if rows and before else None,
    )

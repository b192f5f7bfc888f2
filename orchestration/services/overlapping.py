"""Goals at work on the same files of a repository are told of each other, once a pair. Looked for by the housekeeper."""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from uuid import UUID

from django.db.models import Count, F

from ..models import Call, Event, Goal, Step
from ..overlaps import pairs
from ..states import OPEN_GOAL, CallKind, GoalStatus
from ..transitions import locked, repeatable

EVERY = 30.0  # seconds between two looks of one housekeeper: this is advice, and reads what files were written
MOST_GOALS = 30  # of one repository, the newest
AT_WORK = OPEN_GOAL - {GoalStatus.DRAFT, GoalStatus.CANCELLING}
Pair = tuple[UUID, UUID, list[str]]

_looked_at = 0.0


def pairs_to_tell() -> list[Pair]:
    """(goal, other, files) that nobody was told of yet. Nothing is read but the first statement where no repository is shared."""
    global _looked_at
    if _looked_at and time.monotonic() - _looked_at < EVERY:
        return []
    _looked_at = time.monotonic()
    return find_pairs()


def find_pairs() -> list[Pair]:
    at_work = Goal.objects.filter(status__in=AT_WORK, repository__isnull=False, cancelled_at=None)
    crowded = at_work.values(path=F("repository__path")).annotate(n=Count("pk")).filter(n__gt=1)
    found: list[Pair] = []
    for path in list(crowded.values_list("path", flat=True)):
        ids = list(
            at_work.filter(repository__path=path).order_by("-created_at").values_list("pk", flat=True)[:MOST_GOALS]
        )
        found += pairs(_touched(ids))
    told = set(
        Event.objects.filter(kind="goal.overlaps", goal__in={a for a, _, _ in found}).values_list("goal", "data__pair")
    )
    return [(a, b, files) for a, b, files in found if (a, pair_name(a, b)) not in told]


def _touched(ids: list[UUID]) -> dict[UUID, set[str]]:
    """What the newest plans may write, and what was written."""
    touched: dict[UUID, set[str]] = defaultdict(set)
    steps = Step.objects.filter(rollout__goal__in=ids).values_list("rollout__goal", "writes")
    for goal, writes in steps:
        touched[goal].update(writes)
    written = Call.objects.filter(run__goal__in=ids, kind=CallKind.FILE, request__has_key="write")
    for goal, path in written.values_list("run__goal", "request__write").distinct():
        touched[goal].add(str(path))
    return touched


def tell_pair(pair: Pair) -> bool:
    """Both stories say it, in a transaction each; two housekeepers at once are harmless."""
    one, other, files = pair
    return any([_tell(one, other, files), _tell(other, one, files)])


@repeatable
def _tell(goal_id: UUID, other_id: UUID, files: list[str]) -> bool:
    with locked(goal_id, by="housekeeper") as change:
        name, goal = pair_name(goal_id, other_id), change.goal
        if goal.is_terminal or Event.objects.filter(goal=goal, kind="goal.overlaps", data__pair=name).exists():
            return False
        other = Goal.objects.only("team_id").get(pk=other_id)
        same = other.team_id == goal.team_id
        who = f"goal {other.short_id}" if same else "a goal of another team"
        data = {"pair": name, "files": files, **({"other": str(other_id)} if same else {})}
        change.note("goal.overlaps", who, reason=", ".join(files), data=data)
        return True


def pair_name(one: UUID, other: UUID) -> str:
    """The same for both, and neither id can be read from it."""
    return hashlib.sha256("".join(sorted((one.hex, other.hex))).encode()).hexdigest()[:32]

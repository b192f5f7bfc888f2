"""claim: a queued run becomes this worker's, with a new fence and a lease. By id (a message), or the best of some queues (pull)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Case, Exists, IntegerField, QuerySet, Value, When
from django.db.models.functions import Now
from django.utils import timezone

from .. import selectors
from ..models import Breaker, Budget, Rollout, Run
from ..prepared import Prepared
from ..states import BreakerStatus, RunStatus
from ..transitions import Change, locked, repeatable

MAX_INT = 32_767  # of the column
RISKY_LOSSES = 2  # a run that lost so many workers may be what kills them: one at a time in a process


@repeatable
def claim(run_id: Any, worker: str, *, risky: bool = True, needs: Sequence[str] = ()) -> Run | None:
    """The run that a message names; None when it is not queued any more, not due, or its goal is closed. All of that is normal.

    `needs`: what this worker's runs depend on; while the breaker of any of it is not closed, nothing is claimed.
    """
    due, asked = _due_run(len(needs)), (_most_losses(risky), *needs)
    named = due.one(_as_uuid(run_id), *asked)
    if named is None:
        return None
    with locked(named.goal_id, by=worker) as change:
        run = take(change, due(named.pk, *asked), worker)
    return loaded(run)


@repeatable
def pull(
    queues: Sequence[str], worker: str, *, risky: bool = True, needs: Sequence[str] = (), later: Sequence[Any] = ()
) -> Run | None:
    """The most urgent due run of these queues; goals that somebody is writing to just now are passed over where that is possible.

    `needs`: as for `claim`. `later`: goals whose turn comes after all others.
    """
    with transaction.atomic():
        asked = (_most_losses(risky), *queues, *needs, *later)
        shape = len(queues), len(needs), len(later)
        free = connection.features.has_select_for_update_skip_locked
        found = (_urgent(*shape, free=True).one(*asked) if free else None) or _urgent(*shape).one(*asked)
        if found is None:
            return None
        with locked(found.goal_id, by=worker, savepoint=False) as change:
            run = take(change, _due_run(0)(found.pk, _most_losses(risky)), worker)
    return loaded(run)

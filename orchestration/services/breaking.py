"""Breakers: a run reports an outage, work that needs what is away waits, one run is let through, an answer closes it again.

While all is well nothing is written and nothing extra is asked: claims look at the breakers in their own statement, and an answer
costs a statement only in a process that has reported an outage, or been let through, since the last one.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Max, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from .. import breaker
from ..errors import NotFound
from ..models import Breaker, Call, Event, Run
from ..retry import backoff
from ..states import BreakerStatus, CallKind, CallStatus, RunStatus
from ..transitions import move_breaker, repeatable
from .claiming import pull
from .controlling import stand_down
from .sweeping import wake_forgotten

log = logging.getLogger(__name__)
LONGEST_ERROR = 500
HELD = 1.0  # seconds; a run that is held is looked at again by whoever tries
DOUBT = "doubtful"  # of a run's event: it was given back although nobody knew of an outage

_suspect: set[str] = set()  # what this process has reported, or is trying: its next answer is news


def wait_out(run: Run, name: str, error: str, *, asked: float | None = None) -> bool:
    """A run met an outage of `name`: tell the breaker. True: the run is given back without an attempt, and waits.

    False: its own request is what fails, while others are answered; `retry` decides about it, as about any other error.
    """
    was, doubts = report_outage(name, error, asked=asked), _doubts(run)
    if breaker.costs_an_attempt(was, doubts, breaker.rules_of(settings.BREAKER)):
        return False
    known = was != BreakerStatus.CLOSED  # then it is the breaker that says when
    delay = HELD if known else backoff(doubts + 1, asked)
    stand_down(run, f"waiting for {name}: {error}"[:2000], delay=delay, about={} if known else {DOUBT: True})
    return True


def _doubts(run: Run) -> int:
    """How often it was given back by a breaker that was closed, since its last own answer."""
    answers = Call.objects.filter(run=run, kind=CallKind.LLM, status=CallStatus.DONE)
    since = answers.aggregate(last=Max("ended_at"))["last"] or run.queued_at
    back = Event.objects.filter(goal=run.goal_id, kind="run.status", new=RunStatus.QUEUED, at__gte=since)
    return back.filter(**{"data__run": str(run.pk), f"data__{DOUBT}": True}).count()


@repeatable
def report_outage(name: str, error: str, *, asked: float | None = None) -> str:
    """Somebody met it. The breaker's status until now: whether it was known to be away."""
    name = name[:300]
    _suspect.add(name)
    with transaction.atomic():
        Breaker.objects.bulk_create([Breaker(name=name)], ignore_conflicts=True)
        row = Breaker.objects.select_for_update(no_key=True).get(pk=name)
        was = row.status
        after = breaker.failed(
            breaker.Standing(row.status, row.failures, row.probes),
            breaker.rules_of(settings.BREAKER),
            since_last=(timezone.now() - row.failed_at).total_seconds() if row.failed_at else None,
            asked=asked,
        )
        _record(row, after, error)
    return was


def _record(row: Breaker, after: breaker.Standing, error: str) -> None:
    said = " ".join(error.split())[:LONGEST_ERROR]
    rows: dict[str, Any] = {"failures": after.failures, "probes": after.probes, "failed_at": Now(), "last_error": said}
    if after.probe_in is not None:
        rows |= {"probe_at": Now() + timedelta(seconds=after.probe_in), "probe": None}
        log.warning("%s is away: %s; runs wait, one tries in %g s", row, said, after.probe_in)
    if row.status == BreakerStatus.CLOSED and after.status == BreakerStatus.OPEN:
        rows["opened_at"] = Now()
    move_breaker(row, after.status, **rows)


def heard_from(name: str) -> None:
    """It has answered. Costs nothing unless this process thinks that it might be away."""
    if name in _suspect:
        _close(name, "it answers again")
        _suspect.discard(name)


def close_breaker(name: str) -> Breaker:
    """By hand: what waits goes on at once. Raises NotFound for a name that there is not."""
    if not Breaker.objects.filter(pk=name).exists():
        raise NotFound(f"there is no breaker {name!r}; manage.py breakers lists them")
    _close(name, "closed by hand")
    return Breaker.objects.get(pk=name)


@repeatable
def _close(name: str, why: str) -> None:
    with transaction.atomic():
        row = Breaker.objects.select_for_update(no_key=True).filter(pk=name).first()
        if row is None or (row.status == BreakerStatus.CLOSED and not row.failures):
            return
        was = row.status
        move_breaker(row, BreakerStatus.CLOSED, failures=0, probes=0, opened_at=None, probe_at=None, probe=None)
    if was != BreakerStatus.CLOSED:
        log.warning("%s: %s; what waited goes on", name, why)
        wake_forgotten()


@repeatable
def probe(queues: Sequence[str], worker: str, needs: Sequence[str], *, risky: bool = True) -> Run | None:
    """One due run, although something that this worker needs is away: when the time has come to try that. Else None.

    A real run is the probe, not a request of our own: it costs nothing extra, it is booked and limited like any other call, and it
    asks for just what failed (a server whose model is broken still lists its models). Lock order: breakers, then the goal.
    """
    if not needs or not _to_be_tried(needs).exists():
        return None
    with transaction.atomic():
        rows = list(Breaker.objects.select_for_update(no_key=True, of=("self",)).filter(pk__in=needs).order_by("pk"))
        tried = [row for row in rows if row.status != BreakerStatus.CLOSED]
        now = timezone.now()
        if not tried or not all(_is_due(row, now) for row in tried):
            return None
        last = {row.last_probe_goal for row in tried}
        run = pull(queues, worker, risky=risky, later=[pk for pk in last if pk])
        if run is None:
            return None
        for row in tried:
            move_breaker(row, BreakerStatus.HALF_OPEN, probe=run, probe_fence=run.fence, last_probe_goal=run.goal_id)
    _suspect.update(row.pk for row in tried)
    log.info("%s tries whether %s works again", run, ", ".join(row.pk for row in tried))
    return run


def not_to_be_asked(run: Run, name: str) -> str:
    """Why a run that could ask another model does not ask this one: it is away. Empty: it is not, or this run is who tries it."""
    row = Breaker.objects.filter(pk=name[:300]).exclude(status=BreakerStatus.CLOSED).first()
    if row is None or _tries(run, row.pk):
        return ""
    since = f" since {timezone.localtime(row.opened_at):%H:%M:%S}" if row.opened_at else ""
    return f"{row} is away{since}: {row.last_error}"


@repeatable
def _tries(run: Run, name: str) -> bool:
    with transaction.atomic():
        row = Breaker.objects.select_for_update(no_key=True, of=("self",)).get(pk=name)
        if row.status != BreakerStatus.CLOSED and not _is_due(row, timezone.now()):
            return False
        if row.status != BreakerStatus.CLOSED:
            move_breaker(row, BreakerStatus.HALF_OPEN, probe=run, probe_fence=run.fence, last_probe_goal=run.goal_id)
    _suspect.add(name)
    return True


def _to_be_tried(needs: Sequence[str]) -> QuerySet[Breaker]:
    return Breaker.objects.filter(
        Q(status=BreakerStatus.OPEN, probe_at__lte=Now()) | Q(status=BreakerStatus.HALF_OPEN), pk__in=needs
    )


def _is_due(row: Breaker, now: Any) -> bool:
    is_probed = row.probe is not None and (row.probe.status, row.probe.fence) == (RunStatus.RUNNING, row.probe_fence)
    return breaker.is_due(row.status, probe_due=row.probe_at is None or row.probe_at <= now, is_probed=is_probed)

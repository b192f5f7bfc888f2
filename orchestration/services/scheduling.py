"""Schedules: what people decide about them, and the tick that turns due times into goals, at most one each.

The tick holds the schedule's row while it decides, and an Occurrence is inserted under UNIQUE(schedule, due_at) in the goal's own
transaction: two beats, two workers or a message that comes twice are harmless.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from ..errors import BadInput, NotFound, OrchestrationError
from ..models import Goal, Installation, Occurrence, RecurringGoal, Repository
from ..schedule import BadSchedule, decide, next_times, parse_cron, passed, zone_of
from ..states import OPEN_GOAL, MissedPolicy, OccurrenceOutcome, OverlapPolicy
from ..transitions import repeatable
from .cleaning import clean_checks, clean_context, clean_line, clean_text
from .repositories import find_place
from .submitting import check_limits, check_rollouts, check_strategy, submit_goal

log = logging.getLogger(__name__)
TWICE = timedelta(seconds=5)  # two "run now" so close together are one wish
TIMES = {"cron", "zone"}
CLEANERS: dict[str, Callable[[Any], Any]] = {
    "name": lambda value: _named(value),
    "cron": lambda value: _cron(value),
    "zone": lambda value: _zone(value),
    "text": clean_text,
    "context": clean_context,
    "base_ref": lambda value: clean_line(value, "the ref", 250),
    "checks": lambda value: list(clean_checks(value)),
    "limits": check_limits,
    "rollouts_wanted": check_rollouts,
    "strategy": check_strategy,
    "allow_check_edits": bool,
    "overlap": lambda value: _one_of(value, OverlapPolicy, "overlap policy"),
    "missed": lambda value: _one_of(value, MissedPolicy, "policy for missed times"),
}


# ---- what people decide


def add_schedule(
    *, repo: Repository | str | None = None, owner: Any = None, allow_repo: bool = False, **wanted: Any
) -> RecurringGoal:
    """A new schedule; its first due time is the first after now. `wanted`: the names in CLEANERS, at least name, cron and text.

    `repo`: a registered repository, or a path (`allow_repo` as in `submit_goal`). Raises BadInput.
    """
    for name in ("name", "cron", "text"):
        wanted.setdefault(name, "")
    return RecurringGoal.objects.create(
        **_cleaned(wanted), repository=_repository(repo, allow_repo), owner=owner, counted_from=timezone.now()
    )


@repeatable
def change_schedule(
    schedule_id: Any, *, repo: Repository | str | None = None, allow_repo: bool = False, **changed: Any
) -> RecurringGoal:
    """Change the named columns. New times count from now: nobody waited for what they would have been before. Raises BadInput."""
    columns = _cleaned(changed)
    if repo is not None:
        columns["repository"] = _repository(repo, allow_repo)
    with transaction.atomic():
        schedule = _locked(schedule_id)
        if any(columns.get(name, getattr(schedule, name)) != getattr(schedule, name) for name in TIMES):
            columns["counted_from"] = timezone.now()
        RecurringGoal.objects.filter(pk=schedule.pk).update(**columns)
        schedule.refresh_from_db()
        return schedule


@repeatable
def pause_schedule(schedule_id: Any, *, by: str, reason: str = "") -> RecurringGoal:
    """Nothing is submitted until it is resumed; pausing twice keeps the first."""
    with transaction.atomic():
        schedule = _locked(schedule_id)
        if not schedule.is_paused:
            reason = clean_line(reason, "the reason", 500)
            RecurringGoal.objects.filter(pk=schedule.pk).update(
                paused_at=timezone.now(), paused_by=by, pause_reason=reason
            )
            schedule.refresh_from_db()
        return schedule


@repeatable
def resume_schedule(schedule_id: Any) -> RecurringGoal:
    """Go on with the first due time from now: the ones in the pause were not missed, they were not wanted."""
    with transaction.atomic():
        schedule = _locked(schedule_id)
        if schedule.is_paused:
            RecurringGoal.objects.filter(pk=schedule.pk).update(
                paused_at=None, paused_by="", pause_reason="", counted_from=timezone.now()
            )
            schedule.refresh_from_db()
        return schedule


@repeatable
def remove_schedule(schedule_id: Any) -> None:
    """Its goals stay."""
    with transaction.atomic():
        _locked(schedule_id).delete()


@repeatable
def run_now(schedule_id: Any, *, by: str) -> Goal:
    """A goal of it at once, whatever its times and policies say. Raises BadInput when it cannot be submitted."""
    now = timezone.now()
    with transaction.atomic():
        schedule = _locked(schedule_id)
        again = schedule.occurrences.filter(outcome=OccurrenceOutcome.BY_HAND, due_at__gt=now - TWICE, by=by).first()
        if again is not None and again.goal is not None:
            return again.goal
        goal = _submit(schedule)
        Occurrence.objects.create(schedule=schedule, due_at=now, outcome=OccurrenceOutcome.BY_HAND, goal=goal, by=by)
        return goal


# ---- the tick


def submit_due_goals(now: datetime | None = None) -> dict[str, int]:
    """What celery-beat asks for every few seconds: how many due times got which outcome. Trouble of one never stops the others."""
    now = now or timezone.now()
    Installation.objects.update(beat_ticked_at=now)
    counts: Counter[str] = Counter()
    for pk in RecurringGoal.objects.filter(paused_at=None).values_list("pk", flat=True):
        try:
            counts.update(outcome.value for outcome in _tick(pk, now))
        except IntegrityError:
            log.info("schedule %s: another tick was faster", pk)
        except Exception:
            log.exception("schedule %s could not be ticked; the others go on", pk)
    return dict(counts)


@repeatable
def _tick(schedule_pk: Any, now: datetime) -> list[OccurrenceOutcome]:
    with transaction.atomic():
        schedule = _locked(schedule_pk)
        if schedule.is_paused:
            return []
        begun = _start_waiting(schedule)
        after = max(schedule.counted_from, schedule.last_due_at or schedule.counted_from)
        found = passed(parse_cron(schedule.cron), zone_of(schedule.zone), after, now)
        if found is None:
            return begun
        decision = decide(
            found,
            now,
            missed=schedule.missed,
            overlap=schedule.overlap,
            open_goals=_open_goals(schedule),
            waiting=_waiting(schedule).count(),
        )
        RecurringGoal.objects.filter(pk=schedule.pk).update(last_due_at=found.newest)
        occurrence = Occurrence(
            schedule=schedule, due_at=found.newest, outcome=decision.outcome, reason=decision.reason
        )
        if decision.outcome == OccurrenceOutcome.SUBMITTED:
            _fulfil(occurrence)
        occurrence.save(force_insert=True)
        return [*begun, OccurrenceOutcome(occurrence.outcome)]


def _start_waiting(schedule: RecurringGoal) -> list[OccurrenceOutcome]:
    """The oldest waiting time becomes a goal once no earlier goal is open."""
    oldest = _waiting(schedule).order_by("due_at").first()
    if oldest is None or _open_goals(schedule):
        return []
    _fulfil(oldest)
    oldest.save(update_fields=["outcome", "reason", "goal"])
    return [OccurrenceOutcome(oldest.outcome)]


def _fulfil(occurrence: Occurrence) -> None:
    """The occurrence's goal, or why there can be none now (the repository is gone, a setting is lower …)."""
    schedule = occurrence.schedule
    trouble = ""
    try:
        with transaction.atomic():
            occurrence.goal = _submit(schedule)
        occurrence.outcome = OccurrenceOutcome.SUBMITTED
    except OrchestrationError as error:
        trouble = str(error)
        occurrence.outcome, occurrence.reason = OccurrenceOutcome.REFUSED, trouble
    if trouble != schedule.trouble:
        RecurringGoal.objects.filter(pk=schedule.pk).update(trouble=trouble)


def _submit(schedule: RecurringGoal) -> Goal:
    return submit_goal(
        schedule.text,
        context=schedule.context,
        repo=schedule.repository.path if schedule.repository else None,
        ref=schedule.base_ref,
        checks=schedule.checks,
        limits=schedule.limits,
        rollouts=schedule.rollouts_wanted,
        strategy=schedule.strategy,
        allow_check_edits=schedule.allow_check_edits,
        origin="schedule",
        by=schedule.owner,
        allow_repo=True,  # it was checked when the schedule was made
    )


def _waiting(schedule: RecurringGoal) -> Any:
    return schedule.occurrences.filter(outcome=OccurrenceOutcome.QUEUED)


def _open_goals(schedule: RecurringGoal) -> int:
    return Goal.objects.filter(occurrence__schedule=schedule, status__in=OPEN_GOAL).count()


def _locked(schedule_id: Any) -> RecurringGoal:
    """Lock order: the schedule, then its new goal; nobody takes them the other way round."""
    rows = RecurringGoal.objects.select_for_update(no_key=True, of=("self",)).select_related("repository", "owner")
    schedule = rows.filter(pk=schedule_id).first()
    if schedule is None:
        raise NotFound(f"there is no schedule {schedule_id}")
    return schedule


# ---- what people type


def _cleaned(wanted: dict[str, Any]) -> dict[str, Any]:
    if unknown := sorted(set(wanted) - set(CLEANERS)):
        raise BadInput(f"a schedule has no {', '.join(unknown)}; it has {', '.join(sorted(CLEANERS))}")
    return {name: CLEANERS[name](value) for name, value in wanted.items()}


def _repository(repo: Repository | str | None, allow: bool) -> Repository | None:
    if not repo or isinstance(repo, Repository):
        return repo or None
    return Repository.objects.get_or_create(path=find_place(repo, allow=allow))[0]


def _named(value: object) -> str:
    name = clean_line(str(value or ""), "the schedule's name", 120)
    if not name:
        raise BadInput("the schedule has no name: give a short one, for example `nightly tests`")
    return name


def _cron(value: object) -> str:
    try:
        cron, text = parse_cron(str(value or "")), " ".join(str(value).split())
        if not next_times(cron, zone_of("UTC"), timezone.now(), 1):
            raise BadInput(f"the cron expression {text!r} is never due")
    except BadSchedule as error:
        raise BadInput(str(error)) from error
    return clean_line(text, "the cron expression", 120)


def _zone(value: object) -> str:
    try:
        return zone_of(str(value or "")).key
    except BadSchedule as error:
        raise BadInput(str(error)) from error


def _one_of(value: object, choices: Any, what: str) -> str:
    if value not in choices.values:
        raise BadInput(f"unknown {what} {str(value)[:40]!r}; there are {', '.join(choices.values)}")
    return str(value)

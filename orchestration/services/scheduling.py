"""Schedules: what people decide about them, and the tick that turns due times into goals, at most one each.

The tick holds the schedule's row while it decides, and an Occurrence is inserted under UNIQUE(schedule, due_at) in the goal's own
transaction: two beats, two workers or a message that comes twice are harmless.
"""

from __future__ import annotations

import logging
from collections import Counter
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from ..errors import BadInput, NotFound, OrchestrationError
from ..models import Goal, Installation, Occurrence, RecurringGoal, Repository, Team
from ..roles import Action, may
from ..schedule import GRACE, BadSchedule, Passed, decide, parse_cron, passed, zone_of
from ..selectors.access import role_in
from ..states import OPEN_GOAL, OccurrenceOutcome
from ..transitions import repeatable
from .cleaning import clean_line
from .schedule_input import cleaned, repository_of
from .submitting import submit_goal
from .teams import team_to

log = logging.getLogger(__name__)
TWICE = timedelta(seconds=5)  # two "run now" so close together are one wish
TIMES = {"cron", "zone"}


# ---- what people decide


def add_schedule(
    *,
    repo: Repository | str | None = None,
    owner: Any = None,
    team: Team | str | None = None,
    allow_repo: bool = False,
    key: UUID | None = None,
    **wanted: Any,
) -> RecurringGoal:
    """A new schedule; its first due time is the first after now. `wanted`: the names in CLEANERS, at least name, cron and text.

    `team`, `repo`, `allow_repo`: as in `submit_goal`. `key`: the id it gets, so that the same
    form posted twice makes one. Raises BadInput.
    """
    for name in ("name", "cron", "text"):
        wanted.setdefault(name, "")
    whose = team_to(team, owner, Action.MANAGE_SCHEDULES, repo)
    columns = cleaned(wanted) | {
        "team": whose,
        "repository": repository_of(repo, whose, allow_repo),
        "owner": owner,
    }
    made, is_new = RecurringGoal.objects.get_or_create(
        pk=key or uuid4(), defaults=columns | {"counted_from": timezone.now()}
    )
    if is_new or all(getattr(made, name) == value for name, value in columns.items()):
        return made
    return RecurringGoal.objects.create(
        **columns, counted_from=timezone.now()
    )  # gone back to, and changed: another one


@repeatable
def change_schedule(
    schedule_id: Any, *, repo: Repository | str | None = None, allow_repo: bool = False, **changed: Any
) -> RecurringGoal:
    """Change the named columns; `repo` "" takes the repository away.

    New times count from now: nobody waited for what they would have been before. Raises BadInput.
    """
    columns = cleaned(changed)
    with transaction.atomic():
        schedule = _locked(schedule_id)
        if repo is not None:
            columns["repository"] = repository_of(repo, schedule.team, allow_repo)
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
    for schedule in _running():
        try:
            if schedule.waits or _owes(schedule, now):
                counts.update(outcome.value for outcome in _tick(schedule.pk, now))
        except IntegrityError:
            log.info("schedule %s: another tick was faster", schedule.pk)
        except Exception:
            log.exception("schedule %s could not be ticked; the others go on", schedule.pk)
    return dict(counts)


def _running() -> Any:
    """What a tick must know of each schedule to leave most of them alone: a lock for each of 1000 would outlast the tick."""
    waiting = Occurrence.objects.filter(schedule=OuterRef("pk"), outcome=OccurrenceOutcome.QUEUED)
    columns = ("cron", "zone", "counted_from", "last_due_at", "trouble")
    return RecurringGoal.objects.filter(paused_at=None).only(*columns).annotate(waits=Exists(waiting))


def _owes(schedule: RecurringGoal, now: datetime) -> bool:
    try:
        return _passed(schedule, now) is not None
    except BadSchedule as error:
        return schedule.trouble != str(error)


def _passed(schedule: RecurringGoal, now: datetime) -> Passed | None:
    """The due times since the last one. If that lies ahead, the clock has been put back since: then only the last moments count."""
    after = max(schedule.counted_from, schedule.last_due_at or schedule.counted_from)
    if after > now + GRACE:
        after = now - GRACE
    return passed(parse_cron(schedule.cron), zone_of(schedule.zone), after, now)


@repeatable
def _tick(schedule_pk: Any, now: datetime) -> list[OccurrenceOutcome]:
    with transaction.atomic():
        schedule = _locked(schedule_pk)
        if schedule.is_paused:
            return []
        begun = _start_waiting(schedule)
        try:
            found = _passed(schedule, now)
        except BadSchedule as error:  # the zone was there when it was typed, and is not on this machine
            _note_trouble(schedule, str(error))
            return begun
        if found is None:
            return begun
        RecurringGoal.objects.filter(pk=schedule.pk).update(last_due_at=found.newest)
        if schedule.occurrences.filter(due_at=found.newest).exists():  # before the clock was put back
            return begun
        decision = decide(
            found,
            now,
            missed=schedule.missed,
            overlap=schedule.overlap,
            open_goals=_open_goals(schedule),
            waiting=_waiting(schedule).count(),
        )
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
    _note_trouble(schedule, trouble)


def _note_trouble(schedule: RecurringGoal, trouble: str) -> None:
    if trouble != schedule.trouble:
        RecurringGoal.objects.filter(pk=schedule.pk).update(trouble=trouble)


def _submit(schedule: RecurringGoal) -> Goal:
    owner = schedule.owner
    if owner is not None and not owner.is_active:
        raise BadInput(f"its owner {owner} is deactivated: activate them again in the admin, or remove the schedule")
    if owner is not None and not may(role_in(owner, schedule.team_id), Action.SUBMIT):
        raise BadInput(
            f"its owner {owner} may not submit goals in the team {schedule.team} any more: give them a role that may, "
            "or remove the schedule"
        )
    return submit_goal(
        schedule.text,
        context=schedule.context,
        repo=schedule.repository,  # by its row: the worker that ticks need not have the folder
        ref=schedule.base_ref,
        checks=schedule.checks,
        limits=schedule.limits,
        priority=schedule.priority,
        rollouts=schedule.rollouts_wanted,
        strategy=schedule.strategy,
        diversity=schedule.diversity,
        stagger=schedule.stagger_seconds,
        role_models=schedule.role_models,
        approval=schedule.approval,
        review=schedule.review,
        allow_check_edits=schedule.allow_check_edits,
        origin="schedule",
        by=owner,
        team=schedule.team,
    )


def _waiting(schedule: RecurringGoal) -> Any:
    return schedule.occurrences.filter(outcome=OccurrenceOutcome.QUEUED)


def _open_goals(schedule: RecurringGoal) -> int:
    """Its goals, and retries of them (or of their retries), which are still the work of their due time."""
    count = Goal.objects.filter(occurrence__schedule=schedule, status__in=OPEN_GOAL).count()
    retries = list(Goal.objects.filter(status__in=OPEN_GOAL, retry_of__isnull=False).values_list("pk", flat=True))
    while retries:
        earlier = Goal.objects.filter(retries__in=retries)
        count += earlier.filter(occurrence__schedule=schedule).count()
        retries = list(earlier.filter(retry_of__isnull=False).values_list("pk", flat=True))
    return count


def _locked(schedule_id: Any) -> RecurringGoal:
    """Lock order: the schedule, then its new goal; nobody takes them the other way round."""
    rows = RecurringGoal.objects.select_for_update(no_key=True, of=("self",)).select_related(
        "repository", "owner", "team"
    )
    schedule = rows.filter(pk=schedule_id).first()
    if schedule is None:
        raise NotFound(f"there is no schedule {schedule_id}")
    return schedule

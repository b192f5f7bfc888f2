"""Schedules as people see them: in words, with their next times, what became of the last ones, and whether anybody ticks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cron_descriptor import Options, get_description
from cron_descriptor.Exception import FormatException
from django.core.paginator import Page, Paginator
from django.db.models import Prefetch
from django.utils import timezone

from ..models import Installation, Occurrence, RecurringGoal
from ..schedule import BadSchedule, next_times, parse_cron, zone_of
from .access import schedules_for

SILENT = timedelta(minutes=2)  # beat ticks every few seconds; so long without one is an alarm
WORDS = Options()
WORDS.use_24hour_time_format = True
PAGE = 25  # schedules of a page: each has its next time and its words computed, which takes a millisecond
STRIP = 10  # last occurrences that a list shows


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """One schedule with what is computed about it. `times` are aware datetimes in the schedule's own zone."""

    schedule: RecurringGoal
    words: str
    times: list[datetime]
    occurrences: list[Occurrence]


def schedule_page(user: Any, number: str = "1") -> Page[Any]:
    """A page of `user`'s schedules by name, each as a ScheduleRow with its next time: three queries, however many there are."""
    newest = Occurrence.objects.select_related("goal").order_by("-due_at")[:STRIP]
    rows = schedules_for(user).select_related("repository", "owner").order_by("name", "created_at", "pk")
    page: Page[Any] = Paginator(rows.prefetch_related(Prefetch("occurrences", newest, "shown")), PAGE).get_page(number)
    page.object_list = [schedule_row(row, row.shown, 1) for row in page.object_list]
    return page


def schedule_row(schedule: RecurringGoal, occurrences: Iterable[Occurrence], count: int = 5) -> ScheduleRow:
    return ScheduleRow(schedule, in_words(schedule.cron), upcoming(schedule, count), list(occurrences))


def upcoming(schedule: RecurringGoal, count: int = 5) -> list[datetime]:
    """Its next due times; none while it is paused, or where its zone is not known on this machine (it has `trouble` then)."""
    if schedule.is_paused:
        return []
    try:
        cron, zone = parse_cron(schedule.cron), zone_of(schedule.zone)
    except BadSchedule:
        return []
    return [due.astimezone(zone) for due in next_times(cron, zone, timezone.now(), count)]


def in_words(cron: str) -> str:
    """`30 2 * * *` → "At 02:30"; the expression itself where the library has no words for it."""
    try:
        words = str(get_description(cron, WORDS))
        return f"{words} (either day is enough)" if parse_cron(cron).either_day else words
    except (FormatException, ValueError, IndexError, KeyError):
        return cron


def beat_silence() -> tuple[datetime | None, bool]:
    """(when celery-beat last ticked, is that so long ago that somebody should look). A tick that lies ahead tells nothing either."""
    ticked = Installation.objects.values_list("beat_ticked_at", flat=True).first()
    return ticked, ticked is None or abs(timezone.now() - ticked) > SILENT

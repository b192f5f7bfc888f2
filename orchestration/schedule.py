"""PURE: when is a schedule due? Cron + IANA zone + two instants in, due times and decisions out. The clock is an argument.

Cron has five fields as in crontab(5); where day-of-month and day-of-week are both restricted, either is enough. Daylight saving:
a time that the clock jumps over is due when the jump is over; a time that comes twice is due at the first. A schedule of every
hour (`*`) follows real time instead: nothing is due in the jumped hour, and the repeated hour counts twice.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, takewhile
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from celery.schedules import ParseException, crontab

from .states import MissedPolicy, OccurrenceOutcome, OverlapPolicy

FIELDS = re.compile(r"[0-9a-z*/,\-]{1,60}", re.IGNORECASE)
EVERY_HOUR = frozenset(range(24))
NO_PLACES = {
    "localtime",
    "Factory",
}  # in the system's folder of zones, but they mean another zone on each machine, or none
LONGEST_GAP = timedelta(days=8 * 366 + 1)  # from one 29 February to the next over a century that is no leap year
GRACE = timedelta(minutes=2)  # a due time found so late was not missed: the ticks are seconds apart
WINDOWS = (timedelta(days=1), timedelta(days=32), timedelta(days=400), LONGEST_GAP)
MOST_COUNTED = 1000
MOST_WAITING = 10  # due times of one schedule that wait for an earlier goal


class BadSchedule(ValueError):
    """The cron expression or the zone cannot be used; the message is for the person who typed it."""


@dataclass(frozen=True, slots=True)
class Cron:
    """A checked expression: the values that each field allows."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  # 0 is Sunday
    either_day: bool  # both day fields are restricted

    def falls_on(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        in_month, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return in_month or in_week if self.either_day else in_month and in_week


def parse_cron(text: str) -> Cron:
    """Raises BadSchedule, which says what is wrong."""
    fields = text.split()
    if len(fields) != 5:
        raise BadSchedule(
            f"a cron expression has 5 fields (minute hour day-of-month month day-of-week), this has {len(fields)}: "
            "for example `30 2 * * *` for every night at 02:30"
        )
    for field in fields:
        if not FIELDS.fullmatch(field):
            raise BadSchedule(f"the cron field {field[:30]!r} cannot be read; it may hold numbers, names, * / , and -")
    minute, hour, day, month, weekday = fields
    weekday = re.sub(r"(?<![\w-])(?:0|sun\w*)-7(?!\d)", "0-6", weekday, flags=re.IGNORECASE)  # the whole week
    weekday = re.sub(r"(?<![\d/])7(?!\d)", "0", weekday)  # crontab(5): 0 and 7 are both Sunday
    try:
        known: Any = crontab(minute=minute, hour=hour, day_of_month=day, month_of_year=month, day_of_week=weekday)
    except (ValueError, KeyError, IndexError, TypeError, ParseException) as error:
        raise BadSchedule(f"the cron expression {text[:80]!r} cannot be read: {error}") from error
    return Cron(
        minutes=tuple(sorted(known.minute)),
        hours=tuple(sorted(known.hour)),
        days=frozenset(known.day_of_month),
        months=frozenset(known.month_of_year),
        weekdays=frozenset(known.day_of_week),
        either_day=not day.startswith("*") and not weekday.startswith("*"),
    )


def zone_of(name: str) -> ZoneInfo:
    """Raises BadSchedule for a zone that the system does not know."""
    if name not in _zones():
        raise BadSchedule(f"there is no time zone {name[:60]!r}; give an IANA name, for example Europe/Berlin or UTC")
    return ZoneInfo(name)


@functools.cache
def _zones() -> frozenset[str]:
    """Once a process: reading the system's folder of zones takes milliseconds, and a tick asks for each schedule."""
    return frozenset(available_timezones() - NO_PLACES)


def due_times(cron: Cron, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """Every due time later than `after`, in order, in UTC. Ends only where no day fits for eight years."""
    day = after.astimezone(zone).date() - timedelta(days=1)  # a jump may move a time over midnight
    last, quiet_since = after, day
    while day - quiet_since < LONGEST_GAP:
        if cron.falls_on(day):
            for due in _on_day(cron, zone, day, after):
                if due > last:
                    last, quiet_since = due, day
                    yield due
        try:
            day += timedelta(days=1)
        except OverflowError:
            return


def next_times(cron: Cron, zone: ZoneInfo, after: datetime, count: int = 5) -> list[datetime]:
    return list(islice(due_times(cron, zone, after), count))


def _on_day(cron: Cron, zone: ZoneInfo, day: date, after: datetime) -> Iterator[datetime]:
    """The day's due times in order. Where its clock runs evenly they are made one by one, and the hours up to `after` left out."""
    midnight = _even_midnight(zone, day)
    if midnight is None:
        yield from sorted(set(_instants(cron, zone, day)))
        return
    for hour in cron.hours:
        if midnight + timedelta(hours=hour + 1) > after:
            yield from (midnight + timedelta(hours=hour, minutes=minute) for minute in cron.minutes)


@functools.lru_cache(maxsize=2048)
def _even_midnight(zone: ZoneInfo, day: date) -> datetime | None:
    """The day's beginning in UTC; None where the clock jumps on that day."""
    walls = [datetime.combine(day, time(hour, minute), zone) for hour in range(24) for minute in (0, 59)]
    even = len({wall.replace(fold=fold).utcoffset() for wall in walls for fold in (0, 1)}) == 1
    return walls[0].astimezone(UTC) if even else None


def _instants(cron: Cron, zone: ZoneInfo, day: date) -> Iterator[datetime]:
    by_the_hour = frozenset(cron.hours) == EVERY_HOUR
    for hour in cron.hours:
        for minute in cron.minutes:
            wall = datetime.combine(day, time(hour, minute), zone)
            first = wall.astimezone(UTC)
            jumped = first.astimezone(zone).replace(tzinfo=None) != wall.replace(tzinfo=None)
            if not by_the_hour:
                yield _after_the_jump(wall, zone) if jumped else first
            elif not jumped:
                yield first
                yield wall.replace(fold=1).astimezone(UTC)


def _after_the_jump(wall: datetime, zone: ZoneInfo) -> datetime:
    """The instant at which the clock jumps over `wall`: the wall time before it plus nothing, the one after it is shown next."""
    before, after = wall.replace(fold=1).astimezone(UTC), wall.astimezone(UTC)
    while after - before > timedelta(minutes=1):
        middle = before + (after - before) / 2
        shown = middle.astimezone(zone).replace(tzinfo=None)
        before, after = (middle, after) if shown < wall.replace(tzinfo=None) else (before, middle)
    return after.replace(second=0, microsecond=0)


# ---- what becomes of the due times that have passed


@dataclass(frozen=True, slots=True)
class Passed:
    """The due times since the last one that was dealt with: the newest, and how many came before it (`many`: or more)."""

    newest: datetime
    earlier: int = 0
    many: bool = False

    def words(self, count: int) -> str:
        times = "1 time" if count == 1 else f"{count} times"
        return f"at least {times}" if self.many else times


def passed(cron: Cron, zone: ZoneInfo, after: datetime, now: datetime) -> Passed | None:
    """None: nothing is due. Looks near `now` first, so that a long outage of a frequent schedule is found out at once."""
    for window in WINDOWS:
        start = max(after, now - window)
        found = list(takewhile(lambda due: due <= now, due_times(cron, zone, start)))
        if found:
            before = takewhile(found[-1].__gt__, due_times(cron, zone, after))
            earlier = sum(1 for _ in islice(before, MOST_COUNTED))
            return Passed(found[-1], earlier, many=earlier == MOST_COUNTED)
        if start == after:
            break
    return None


@dataclass(frozen=True, slots=True)
class Decision:
    """What the newest passed due time becomes; it also stands for the earlier ones."""

    outcome: OccurrenceOutcome
    reason: str = ""


def decide(found: Passed, now: datetime, *, missed: str, overlap: str, open_goals: int, waiting: int) -> Decision:
    """The declared policies, in order: missed times first, then the overlap with a goal that is still open."""
    if missed == MissedPolicy.SKIP and now - found.newest > GRACE:
        return Decision(OccurrenceOutcome.SKIPPED, f"{found.words(found.earlier + 1)} passed while nobody ticked")
    reason = ""
    if found.earlier:
        verb = "skipped" if missed == MissedPolicy.SKIP else "covered by this one"
        reason = f"{found.words(found.earlier)} before it passed while nobody ticked: {verb}"
    if not open_goals and not waiting:
        return Decision(OccurrenceOutcome.SUBMITTED, reason)
    if overlap == OverlapPolicy.SKIP:
        return Decision(OccurrenceOutcome.SKIPPED, "the goal of an earlier time is still open")
    if waiting >= MOST_WAITING:
        return Decision(OccurrenceOutcome.SKIPPED, f"{waiting} times wait for an earlier goal already")
    return Decision(OccurrenceOutcome.QUEUED, reason or "waits for the goal of an earlier time")

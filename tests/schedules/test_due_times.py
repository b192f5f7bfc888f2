"""When is a schedule due? Tables for calendars and both edges of daylight saving, properties for whatever people type."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration import schedule
from orchestration.schedule import (
    GRACE,
    MOST_WAITING,
    BadSchedule,
    Passed,
    decide,
    next_times,
    parse_cron,
    passed,
    zone_of,
)

BERLIN = ZoneInfo("Europe/Berlin")


def wall(cron: str, zone: str, after: str, count: int) -> list[str]:
    """Due times as the clock on the wall shows them, with its offset."""
    there = zone_of(zone)
    begin = datetime.fromisoformat(after).replace(tzinfo=UTC)
    return [f"{due.astimezone(there):%m-%d %H:%M%z}" for due in next_times(parse_cron(cron), there, begin, count)]


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        ("30 2 * * *", "UTC", "2026-01-30T02:30", ["01-31 02:30+0000", "02-01 02:30+0000"]),
        ("0 9 * * mon-fri", "UTC", "2026-11-27T09:00", ["11-30 09:00+0000", "12-01 09:00+0000"]),
        ("0 12 * * 7", "UTC", "2026-11-25T00:00", ["11-29 12:00+0000", "12-06 12:00+0000"]),
        ("0 0 * * 0-7", "UTC", "2026-11-27T00:00", ["11-28 00:00+0000", "11-29 00:00+0000", "11-30 00:00+0000"]),
        ("0 0 * * Sun-7/3", "UTC", "2026-11-27T00:00", ["11-28 00:00+0000", "11-29 00:00+0000", "12-02 00:00+0000"]),
        ("0 0 * * 5-7", "UTC", "2026-11-26T00:00", ["11-27 00:00+0000", "11-28 00:00+0000", "11-29 00:00+0000"]),
        ("0 0 29 2 *", "UTC", "2026-01-01T00:00", ["02-29 00:00+0000", "02-29 00:00+0000"]),
        ("0 0 31 * *", "UTC", "2026-03-31T00:00", ["05-31 00:00+0000", "07-31 00:00+0000"]),
        ("0 0 13 * fri", "UTC", "2026-04-01T00:00", ["04-03 00:00+0000", "04-10 00:00+0000", "04-13 00:00+0000"]),
        ("59 23 31 dec *", "Pacific/Kiritimati", "2026-12-31T09:58", ["12-31 23:59+1400"]),
        # the clock jumps from 02:00 to 03:00: a time in between is due when the jump is over, once
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", ["03-29 03:00+0200", "03-30 02:30+0200"]),
        ("0 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00", ["03-29 03:00+0200", "03-30 02:00+0200"]),
        ("0 * * * *", "Europe/Berlin", "2026-03-28T23:30", ["03-29 01:00+0100", "03-29 03:00+0200"]),
        # midnight itself is jumped over
        ("30 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00", ["11-04 01:00-0200", "11-05 00:30-0200"]),
        # the hour from 02:00 comes twice: a fixed time is due at the first, every hour and its parts in both
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", ["10-25 02:30+0200", "10-26 02:30+0100"]),
        (
            "*/30 * * * *",
            "Europe/Berlin",
            "2026-10-25T00:10",
            ["10-25 02:30+0200", "10-25 02:00+0100", "10-25 02:30+0100", "10-25 03:00+0100"],
        ),
        # half an hour of daylight saving
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00", ["10-04 02:30+1100", "10-05 02:15+1100"]),
    ],
)
def test_due_times_are_what_the_calendar_on_the_wall_says(
    cron: str, zone: str, after: str, expected: list[str]
) -> None:
    assert wall(cron, zone, after, len(expected)) == expected


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("", "has 5 fields"),
        ("* * * *", "this has 4"),
        ("* * * * * *", "this has 6"),
        ("61 * * * *", "61"),
        ("* 24 * * *", "24"),
        ("* * 0 * *", "0"),
        ("0 0 31 2 *", "never occurs"),
        ("*/0 * * * *", "cannot be read"),
        ("a b c d e", "cannot be read"),
        ("-1 * * * *", "cannot be read"),
        ("1; * * * *", "'1;'"),
        ("* * * * mo\x00n", "cannot be read"),
        (", * * * *", "cannot be read"),
        ("*/ * * * *", "cannot be read"),
    ],
)
def test_an_expression_that_cannot_be_read_says_why(cron: str, words: str) -> None:
    with pytest.raises(BadSchedule, match=re.escape(words)):
        parse_cron(cron)


@pytest.mark.parametrize(
    "zone",
    [
        "",
        "Berlin",
        "Europe/../../etc/passwd",
        "europe/berlin",
        "UTC+1",
        "\x00",
        "/etc/localtime",
        "localtime",
        "Factory",
    ],
)
def test_a_zone_is_an_iana_name(zone: str) -> None:
    with pytest.raises(BadSchedule, match="IANA"):
        zone_of(zone)


@given(st.text(alphabet="0123456789*/,- amonfri7", max_size=40))
def test_whatever_is_typed_is_read_or_refused(text: str) -> None:
    try:
        cron = parse_cron(text)
    except BadSchedule:
        return
    assert cron.minutes
    assert set(cron.minutes) <= set(range(60))


@given(
    st.sampled_from(["30 2 * * *", "*/7 * * * *", "0 */2 * * *", "15 0,2,23 1,29 * *", "0 0 * * sun"]),
    st.sampled_from(["Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]),
    st.datetimes(datetime(2000, 1, 1), datetime(2037, 1, 1)),
)
def test_due_times_rise_and_going_on_from_one_gives_the_next(cron: str, zone: str, start: datetime) -> None:
    known, there, after = parse_cron(cron), zone_of(zone), start.replace(tzinfo=UTC)
    times = next_times(known, there, after, 8)
    assert times == sorted(set(times))
    assert times[0] > after
    assert next_times(known, there, times[3], 4) == times[4:]


@given(
    st.sampled_from(["30 2 * * *", "*/20 * * * *", "0 0 * * *", "15 1-3,23 * * *", "59 23 * * *"]),
    st.sampled_from(
        ["Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca", "Asia/Beirut"]
    ),
    st.datetimes(datetime(1972, 1, 1), datetime(2037, 1, 1)),
)
def test_a_day_on_which_no_clock_jumps_needs_no_search_for_jumps(cron: str, zone: str, start: datetime) -> None:
    known, there, after = parse_cron(cron), zone_of(zone), start.replace(tzinfo=UTC)
    day = after.astimezone(there).date()
    quick = list(schedule._on_day(known, there, day, datetime.min.replace(tzinfo=UTC)))
    assert quick == sorted(set(schedule._instants(known, there, day)))


def test_a_long_outage_of_a_frequent_schedule_is_found_out_near_its_end() -> None:
    now = datetime(2026, 11, 25, 12, 0, 30, tzinfo=UTC)
    found = passed(parse_cron("* * * * *"), zone_of("UTC"), datetime(1990, 1, 1, tzinfo=UTC), now)
    assert found is not None
    assert found.newest == now.replace(second=0)
    assert found.many
    assert "at least" in found.words(found.earlier)


@pytest.mark.parametrize(
    ("cron", "after", "newest", "earlier"),
    [
        ("0 3 * * *", "2026-11-22T10:00", "2026-11-25T03:00", 2),  # an outage of three days
        ("0 3 * * *", "2026-11-25T03:00", None, 0),
        ("0 0 1 1 *", "2024-06-01T00:00", "2026-01-01T00:00", 1),
    ],
)
def test_what_has_passed_is_the_newest_due_time_and_how_many_before_it(
    cron: str, after: str, newest: str | None, earlier: int
) -> None:
    now = datetime(2026, 11, 25, 10, tzinfo=UTC)
    found = passed(parse_cron(cron), zone_of("UTC"), datetime.fromisoformat(after).replace(tzinfo=UTC), now)
    expected = newest and datetime.fromisoformat(newest).replace(tzinfo=UTC)
    assert (found.newest if found else None) == expected
    assert (found.earlier if found else 0) == earlier


DUE = datetime(2026, 11, 25, 3, tzinfo=UTC)
ON_TIME, LATE = DUE + timedelta(seconds=20), DUE + GRACE + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("earlier", "now", "missed", "overlap", "open_goals", "waiting", "outcome", "words"),
    [
        (0, ON_TIME, "once", "skip", 0, 0, "submitted", ""),
        (0, ON_TIME, "skip", "skip", 0, 0, "submitted", ""),
        (0, LATE, "once", "skip", 0, 0, "submitted", ""),
        (0, LATE, "skip", "skip", 0, 0, "skipped", "1 time passed"),
        (2, LATE, "skip", "queue", 0, 0, "skipped", "3 times passed"),
        (2, LATE, "once", "skip", 0, 0, "submitted", "covered by this one"),
        (1, ON_TIME, "skip", "skip", 0, 0, "submitted", "1 time before it passed while nobody ticked: skipped"),
        (0, ON_TIME, "once", "skip", 1, 0, "skipped", "still open"),
        (0, ON_TIME, "once", "queue", 1, 0, "queued", "waits"),
        (0, ON_TIME, "once", "queue", 0, 1, "queued", "waits"),
        (0, ON_TIME, "once", "queue", 1, MOST_WAITING, "skipped", "wait for an earlier goal already"),
    ],
)
def test_the_declared_policies_decide(
    earlier: int, now: datetime, missed: str, overlap: str, open_goals: int, waiting: int, outcome: str, words: str
) -> None:
    decision = decide(Passed(DUE, earlier), now, missed=missed, overlap=overlap, open_goals=open_goals, waiting=waiting)
    assert decision.outcome == outcome
    assert words in decision.reason

"""Due times become goals: at most one each, by the declared policies, whoever ticks and how often."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from orchestration import dispatch, services
from orchestration.errors import BadInput, NotFound
from orchestration.models import Goal, Installation, Occurrence, RecurringGoal
from orchestration.selectors.schedules import beat_silence, in_words, schedule_page, upcoming
from orchestration.services.repositories import register_repository, remove_repository
from tests.support.people import member, outsider

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
EITHER = ("0 1 13 * 5", "At 01:00, on day 13 of the month, only on Friday (either day is enough)")
NIGHT = datetime(2026, 11, 25, 2, 30, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def nobody_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_publisher", dispatch.publish_nothing)


def nightly(**more: Any) -> RecurringGoal:
    with time_machine.travel(START, tick=False):
        wanted = {"name": "nightly", "cron": "30 2 * * *", "text": "Keep the tests green"} | more
        return services.add_schedule(**wanted)


def outcomes(schedule: RecurringGoal) -> list[tuple[str, str]]:
    return [(f"{o.due_at:%d %H:%M}", o.outcome) for o in schedule.occurrences.order_by("due_at")]


def end(goal: Goal) -> None:
    services.cancel_goal(goal.pk)
    assert Goal.objects.get(pk=goal.pk).status == "cancelled"


@pytest.mark.django_db
class TestTicks:
    def test_a_due_time_becomes_one_goal_however_often_it_is_ticked(self) -> None:
        schedule = nightly(checks=["true"], limits={"calls": 7})
        assert services.submit_due_goals(NIGHT - timedelta(minutes=1)) == {}
        assert services.submit_due_goals(NIGHT) == {"submitted": 1}
        assert services.submit_due_goals(NIGHT) == {}
        assert services.submit_due_goals(NIGHT + timedelta(minutes=5)) == {}
        goal = Goal.objects.get()
        assert (goal.text, goal.checks, goal.origin) == ("Keep the tests green", ["true"], "schedule")
        assert goal.budget.max_calls == 7
        assert goal.occurrence.schedule == schedule

    def test_the_database_refuses_a_second_occurrence(self) -> None:
        schedule = nightly()
        services.submit_due_goals(NIGHT)
        twin = Occurrence(schedule=schedule, due_at=schedule.occurrences.get().due_at, outcome="submitted")
        with pytest.raises(IntegrityError), transaction.atomic():
            twin.save(force_insert=True)

    def test_after_an_outage_the_missed_times_run_once_or_not_at_all(self) -> None:
        once, skip = nightly(name="once"), nightly(name="skip", missed="skip")
        assert services.submit_due_goals(NIGHT + timedelta(days=3, hours=1)) == {"submitted": 1, "skipped": 1}
        assert outcomes(once) == [("28 02:30", "submitted")]
        assert outcomes(skip) == [("28 02:30", "skipped")]
        assert "3 times before it" in once.occurrences.get().reason
        assert services.submit_due_goals(NIGHT + timedelta(days=4)) == {"submitted": 1, "skipped": 1}
        assert skip.occurrences.get(outcome="submitted").reason == ""

    def test_overlap_skip_leaves_out_and_overlap_queue_waits_for_its_turn(self) -> None:
        skip, queue = nightly(name="skip"), nightly(name="queue", overlap="queue")
        services.submit_due_goals(NIGHT)
        services.submit_due_goals(NIGHT + timedelta(days=1))
        assert outcomes(skip) == [("25 02:30", "submitted"), ("26 02:30", "skipped")]
        assert outcomes(queue) == [("25 02:30", "submitted"), ("26 02:30", "queued")]
        end(Goal.objects.get(occurrence__schedule=queue))
        assert services.submit_due_goals(NIGHT + timedelta(days=1, hours=1)) == {"submitted": 1}
        assert outcomes(queue)[-1] == ("26 02:30", "submitted")
        assert services.submit_due_goals(NIGHT + timedelta(days=1, hours=2)) == {}

    def test_a_retry_is_still_the_work_of_its_due_time(self) -> None:
        schedule = nightly()
        services.submit_due_goals(NIGHT)
        first = Goal.objects.get()
        end(first)
        retry = services.retry_goal(first.pk)
        end(retry)
        services.retry_goal(retry.pk)
        assert services.submit_due_goals(NIGHT + timedelta(days=1)) == {"skipped": 1}
        end(Goal.objects.get(retry_of=retry))
        assert services.submit_due_goals(NIGHT + timedelta(days=2)) == {"submitted": 1}
        assert outcomes(schedule)[1:] == [("26 02:30", "skipped"), ("27 02:30", "submitted")]

    def test_a_retry_of_something_else_stops_no_schedule(self) -> None:
        nightly()
        other = services.submit_goal("by hand")
        end(other)
        services.retry_goal(other.pk)
        assert services.submit_due_goals(NIGHT) == {"submitted": 1}

    def test_nothing_is_submitted_for_an_owner_who_is_deactivated(self) -> None:
        ada = member("ada")
        schedule = nightly(owner=ada)
        User.objects.update(is_active=False)
        assert services.submit_due_goals(NIGHT) == {"refused": 1}
        assert not Goal.objects.exists()
        schedule.refresh_from_db()
        assert "its owner ada is deactivated" in schedule.trouble
        assert schedule.occurrences.get().reason == schedule.trouble
        with pytest.raises(BadInput, match="deactivated"):
            services.run_now(schedule.pk, by="boss")
        User.objects.update(is_active=True)
        assert services.submit_due_goals(NIGHT + timedelta(days=1)) == {"submitted": 1}
        schedule.refresh_from_db()
        assert schedule.trouble == ""

    def test_a_paused_schedule_is_left_alone_and_its_pause_is_not_made_up_for(self) -> None:
        schedule = nightly()
        services.pause_schedule(schedule.pk, by="ada", reason="holidays")
        assert services.submit_due_goals(NIGHT) == {}
        with time_machine.travel(NIGHT + timedelta(days=2), tick=False):
            services.resume_schedule(schedule.pk)
            assert services.submit_due_goals() == {}
        assert services.submit_due_goals(NIGHT + timedelta(days=3)) == {"submitted": 1}

    def test_what_cannot_be_submitted_is_said_and_stops_no_other(self, git_folder: Path) -> None:
        broken = nightly(name="a broken one", repo=str(git_folder), allow_repo=True)
        fine = nightly(name="b fine one")
        remove_repository(git_folder)
        assert services.submit_due_goals(NIGHT) == {"refused": 1, "submitted": 1}
        broken.refresh_from_db()
        assert "manage.py repository add" in broken.trouble
        assert outcomes(fine) == [("25 02:30", "submitted")]
        register_repository(git_folder)
        services.submit_due_goals(NIGHT + timedelta(days=1))
        broken.refresh_from_db()
        assert broken.trouble == ""

    def test_the_worker_that_ticks_need_not_have_the_repository(self, git_folder: Path) -> None:
        """As worker-default of the compose file, which has no /repos: planning and review read it, not the tick."""
        schedule = nightly(repo=str(git_folder), allow_repo=True)
        git_folder.rename(git_folder.with_name("on another machine"))
        assert services.submit_due_goals(NIGHT) == {"submitted": 1}
        assert Goal.objects.get().repository == schedule.repository

    def test_a_removed_repository_that_a_new_schedule_names_is_registered_again(self, git_folder: Path) -> None:
        nightly(name="first", repo=str(git_folder), allow_repo=True)
        remove_repository(git_folder)
        nightly(name="second", repo=str(git_folder), allow_repo=True)
        assert services.submit_due_goals(NIGHT) == {"submitted": 2}

    def test_schedules_that_owe_nothing_cost_no_query_each(self, django_assert_num_queries: Any) -> None:
        for number in range(20):
            nightly(name=f"nightly {number}")
        with django_assert_num_queries(2):
            assert services.submit_due_goals(NIGHT - timedelta(hours=1)) == {}

    def test_a_clock_that_is_put_back_stops_no_schedule_and_repeats_no_due_time(self) -> None:
        schedule = nightly(cron="0 * * * *", overlap="queue")
        services.submit_due_goals(datetime(2031, 1, 1, 5, 0, 5, tzinfo=UTC))
        assert services.submit_due_goals(NIGHT) == {}, "02:00 of that night passed while the clock was wrong"
        assert services.submit_due_goals(NIGHT.replace(hour=3, minute=0)) == {"queued": 1}
        assert services.submit_due_goals(NIGHT.replace(hour=3, minute=1)) == {}
        assert services.submit_due_goals(NIGHT.replace(hour=2, minute=50)) == {}, "and back once more"
        assert services.submit_due_goals(NIGHT.replace(hour=3, minute=0)) == {}
        assert services.submit_due_goals(NIGHT.replace(hour=4, minute=0)) == {"queued": 1}
        assert [due for due, _ in outcomes(schedule)] == ["25 03:00", "25 04:00", "01 05:00"]

    def test_a_zone_that_this_machine_does_not_know_is_said_and_stops_no_page_and_no_other(self) -> None:
        lost, fine = nightly(name="lost"), nightly(name="fine")
        RecurringGoal.objects.filter(pk=lost.pk).update(zone="US/Atlantis")
        assert services.submit_due_goals(NIGHT) == {"submitted": 1}
        lost.refresh_from_db()
        assert "US/Atlantis" in lost.trouble
        assert upcoming(lost) == []
        assert outcomes(fine) == [("25 02:30", "submitted")]

    def test_limits_that_a_setting_lowers_later_are_refused_with_the_reason(self, settings: Any) -> None:
        schedule = nightly(limits={"calls": 50})
        settings.GOAL_LIMITS = settings.GOAL_LIMITS | {"calls": 10}
        assert services.submit_due_goals(NIGHT) == {"refused": 1}
        schedule.refresh_from_db()
        assert "10" in schedule.trouble
        with pytest.raises(BadInput, match="10"):
            services.run_now(schedule.pk, by="ada")

    def test_beat_leaves_the_time_of_its_tick(self) -> None:
        installation = Installation.objects.first() or Installation.objects.create()
        services.submit_due_goals(NIGHT)
        installation.refresh_from_db()
        assert installation.beat_ticked_at == NIGHT

    def test_a_schedule_from_now_on_owes_nothing_for_the_past(self) -> None:
        nightly()
        assert services.submit_due_goals(START + timedelta(hours=1)) == {}


@pytest.mark.django_db(transaction=True)
def test_two_beats_at_once_make_one_goal() -> None:
    nightly()
    barrier = threading.Barrier(4)

    def beat() -> None:
        barrier.wait(10)
        try:
            services.submit_due_goals(NIGHT)
        finally:
            connection.close()

    threads = [threading.Thread(target=beat) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert Goal.objects.count() == 1
    assert Occurrence.objects.count() == 1


@pytest.mark.django_db
class TestPeople:
    def test_run_now_makes_a_goal_at_once_and_pressed_twice_it_is_one(self) -> None:
        ada = member("ada")
        schedule = nightly(owner=ada)
        goal = services.run_now(schedule.pk, by="ada")
        assert services.run_now(schedule.pk, by="ada") == goal
        assert goal.submitted_by == ada
        assert goal.occurrence.outcome == "by_hand"

    def test_new_times_count_from_now(self) -> None:
        schedule = nightly()
        with time_machine.travel(NIGHT + timedelta(hours=8), tick=False):
            services.change_schedule(schedule.pk, cron="0 1 * * *")
            assert services.submit_due_goals() == {}, "01:00 of today was nobody's due time"
        with time_machine.travel(NIGHT + timedelta(hours=23), tick=False):
            assert services.submit_due_goals() == {"submitted": 1}

    def test_another_name_moves_no_due_time(self) -> None:
        schedule = nightly()
        with time_machine.travel(NIGHT, tick=False):
            services.change_schedule(schedule.pk, name="every night")
            assert services.submit_due_goals() == {"submitted": 1}

    def test_the_next_times_are_shown_and_a_paused_one_has_none(self) -> None:
        schedule = nightly(zone="Europe/Berlin")
        with time_machine.travel(START, tick=False):
            assert [f"{due:%d %H:%M}" for due in upcoming(schedule)] == [f"{d} 02:30" for d in range(25, 30)]
        assert upcoming(services.pause_schedule(schedule.pk, by="ada")) == []

    def test_a_repository_is_taken_away_by_naming_none(self, git_folder: Path) -> None:
        schedule = nightly(repo=str(git_folder), allow_repo=True)
        assert services.change_schedule(schedule.pk, name="x").repository is not None
        assert services.change_schedule(schedule.pk, repo="").repository is None

    def test_removing_a_schedule_keeps_its_goals(self) -> None:
        schedule = nightly()
        services.submit_due_goals(NIGHT)
        services.remove_schedule(schedule.pk)
        assert Goal.objects.count() == 1
        with pytest.raises(NotFound):
            services.remove_schedule(schedule.pk)

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            ({"name": " "}, "no name"),
            ({"name": "a\nb"}, "one line"),
            ({"cron": "30 2 * *"}, "5 fields"),
            ({"cron": "0 0 30 2 *"}, "never"),
            ({"zone": "Mars/Olympus"}, "IANA"),
            ({"text": ""}, "empty"),
            ({"text": "a\x00b"}, "control character"),
            ({"checks": "pytest"}, "list of commands"),
            ({"limits": {"calls": 10**9}}, "must be a number"),
            ({"limits": {"hugs": 1}}, "no limit"),
            ({"rollouts_wanted": 99}, "1 to 16"),
            ({"overlap": "pile"}, "skip, queue"),
            ({"missed": "all"}, "once, skip"),
            ({"colour": "red"}, "has no colour"),
            ({"repo": "/nowhere/at/all", "allow_repo": True}, "no folder"),
            ({"repo": "/etc"}, "REPO_ROOTS"),
        ],
    )
    def test_bad_input_is_refused_with_a_sentence_and_nothing_is_kept(self, wrong: dict[str, Any], words: str) -> None:
        with pytest.raises(BadInput, match=words):
            nightly(**wrong)
        assert not RecurringGoal.objects.exists()


@pytest.fixture
def git_folder(open_folder: Path) -> Path:
    folder = open_folder / "repo"
    (folder / ".git").mkdir(parents=True)
    return folder


@pytest.mark.django_db
class TestReads:
    def test_a_list_takes_three_queries_however_long_it_is(self, django_assert_num_queries: Any) -> None:
        boss = User.objects.create_superuser("boss")
        for number in range(12):
            nightly(name=f"nightly {number}")
        services.submit_due_goals(NIGHT)
        with django_assert_num_queries(3):
            rows = schedule_page(boss)
        assert len(rows) == 12
        assert rows[0].words == "At 02:30"
        assert rows[0].occurrences[0].goal is not None

    def test_others_see_only_their_own(self) -> None:
        ada, eve = member("ada"), outsider("eve")
        nightly(owner=ada)
        assert len(schedule_page(ada)) == 1
        assert len(schedule_page(eve)) == 0

    def test_a_beat_that_is_silent_is_an_alarm(self) -> None:
        installation = Installation.objects.first() or Installation.objects.create()
        assert beat_silence() == (None, True)
        services.submit_due_goals()
        assert beat_silence()[1] is False
        ahead = timezone.now() + timedelta(days=400)
        Installation.objects.filter(pk=installation.pk).update(beat_ticked_at=ahead)
        assert beat_silence() == (ahead, True), "a clock that was wrong hides no silence"
        Installation.objects.filter(pk=installation.pk).update(beat_ticked_at=START)
        assert beat_silence() == (START, True)

    @pytest.mark.parametrize(
        ("cron", "words"), [("30 2 * * *", "At 02:30"), ("*/5 * * * *", "Every 5 minutes"), EITHER]
    )
    def test_cron_is_said_in_words(self, cron: str, words: str) -> None:
        assert in_words(cron) == words

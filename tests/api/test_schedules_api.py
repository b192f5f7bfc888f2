"""/schedules: make, change, pause, run now, remove; and what is refused."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from orchestration.models import Goal, Occurrence, RecurringGoal
from orchestration.services.repositories import remove_repository
from tests.api.conftest import Api, expect_problem
from tests.support import rows

NIGHTLY = {"name": "nightly tests", "cron": "30 2 * * *", "zone": "Europe/Berlin", "text": "Make the tests pass"}


@pytest.fixture
def schedule(ada: User) -> RecurringGoal:
    return rows.schedule(ada)


def test_a_schedule_is_made_and_says_when_it_is_due(api: Api, tmp_path: Path) -> None:
    place = rows.repository(tmp_path)
    more = {"overlap": "queue", "missed": "skip", "checks": ["true"], "limits": {"calls": 9}, "rollouts_wanted": 2}
    answer = api.post("/schedules", NIGHTLY | more | {"repository": str(place.pk), "base_ref": "main"})
    assert answer.status_code == 201, answer.content
    shown = api.get(answer.headers["Location"]).json()
    assert shown == answer.json()
    assert shown["words"] == "At 02:30"
    assert len(shown["next_times"]) == 5
    assert all(at.endswith(("T02:30:00+01:00", "T02:30:00+02:00")) for at in shown["next_times"])
    assert (shown["owner"], shown["repository"], shown["limits"]) == ("ada", str(place.pk), {"calls": 9})


def test_money_and_policies_of_its_goals_are_kept_shown_and_given_to_each_goal(api: Api) -> None:
    more = {
        "limits": {"usd": "1.5"},
        "review": {"reviewed_by": "human", "ask_below": 0.7},
        "approval": {"policy": "always"},
    }
    made = api.post("/schedules", NIGHTLY | more)
    assert made.status_code == 201, made.content
    shown = made.json()
    assert (shown["limits"], shown["approval"]["policy"]) == ({"usd": "1.500000"}, "always")
    assert shown["review"] == {"review_when": "final", "reviewed_by": "human", "ask_below": 0.7}
    assert api.post(f"/schedules/{shown['id']}/run", {}).status_code == 202
    goal = Goal.objects.get()
    assert (goal.reviewed_by, goal.ask_below, goal.approval["policy"]) == ("human", 0.7, "always")
    assert goal.budget.max_micro_usd == 1_500_000
    said = expect_problem(api.post("/schedules", NIGHTLY | {"name": "x", "review": {"reviewed_by": "cat"}}), 422)
    assert "reviewed_by" in said["detail"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"cron": "every night"}, "5 fields"), ({"cron": "61 * * * *"}, "cannot be read"), ({"cron": "0 0 31 2 *"}, "never occurs"),
        ({"cron": "\x00"}, "cron"), ({"zone": "Mars/Olympus"}, "zone"), ({"zone": "../../etc/passwd"}, "zone"),
        ({"overlap": "both"}, "overlap"), ({"missed": "all"}, "missed"), ({"name": ""}, "name"), ({"text": " "}, "empty"),
        ({"repository": "/etc"}, "REPO_ROOTS"), ({"limits": {"calls": 10**6}}, "limit"), ({"owner": "bob"}, "owner"),
        ({"name": "x" * 121}, "name"), ({"cron": 5}, "cron"),
    ],
)  # fmt: skip
def test_a_schedule_that_makes_no_sense_is_422(api: Api, schedule: RecurringGoal, wrong: Any, said: str) -> None:
    assert said in expect_problem(api.post("/schedules", NIGHTLY | wrong), 422)["detail"]
    assert said in expect_problem(api.ask("PATCH", f"/schedules/{schedule.pk}", wrong), 422)["detail"]
    assert RecurringGoal.objects.get().cron == "30 2 * * *"


def test_a_schedule_is_changed_in_what_is_named(api: Api, ada: User, tmp_path: Path) -> None:
    schedule = rows.schedule(ada, repo=rows.repository(tmp_path))
    changed = api.ask("PATCH", f"/schedules/{schedule.pk}", {"zone": "UTC", "name": "later"})
    assert (changed.status_code, changed.json()["zone"], changed.json()["name"]) == (200, "UTC", "later")
    assert (changed.json()["cron"], changed.json()["repository"]) == ("30 2 * * *", str(schedule.repository_id))
    assert api.ask("PATCH", f"/schedules/{schedule.pk}", {"repository": None}).json()["repository"] is None


def test_a_schedule_is_run_now_paused_resumed_and_removed(api: Api, schedule: RecurringGoal) -> None:
    path = f"/schedules/{schedule.pk}"
    ran = api.post(f"{path}/run")
    assert ran.status_code == 202
    assert api.get(ran.headers["Location"]).json()["origin"] == "schedule"
    assert api.get(path).json()["occurrences"][0] | {"due_at": ""} == {
        "due_at": "", "outcome": "by_hand", "reason": "", "goal": ran.json()["id"], "by": "ada",
    }  # fmt: skip
    paused = api.post(f"{path}/pause", {"reason": "holidays"}).json()
    assert (paused["is_paused"], paused["paused_by"], paused["pause_reason"], paused["next_times"]) == (
        True, "ada", "holidays", [],
    )  # fmt: skip
    assert [row["id"] for row in api.get("/schedules?paused=true").json()["results"]] == [str(schedule.pk)]
    assert api.get("/schedules?paused=false").json()["results"] == []
    assert api.post(f"{path}/resume").json()["is_paused"] is False
    removed = api.ask("DELETE", path)
    assert (removed.status_code, removed.content) == (204, b"")
    expect_problem(api.get(path), 404)
    assert Goal.objects.count() == 1, "its goals stay"


@pytest.mark.parametrize("verb", ["", "/run", "/pause", "/resume"])
def test_only_its_owner_steers_a_schedule(
    bobs: Api, api: Api, stranger: Api, schedule: RecurringGoal, verb: str
) -> None:
    method = "POST" if verb else "DELETE"
    expect_problem(stranger.ask(method, f"/schedules/{schedule.pk}{verb}"), 401)
    expect_problem(bobs.ask(method, f"/schedules/{schedule.pk}{verb}"), 404)
    expect_problem(bobs.ask("PATCH", f"/schedules/{schedule.pk}", {"name": "mine"}), 404)
    expect_problem(api.ask(method, f"/schedules/{uuid.UUID(int=7)}{verb}"), 404)
    schedule.refresh_from_db()
    assert (schedule.name, schedule.is_paused, Goal.objects.count()) == ("nightly tests", False, 0)


def test_a_schedule_whose_repository_was_removed_says_so_when_it_is_run(api: Api, ada: User, tmp_path: Path) -> None:
    place = rows.repository(tmp_path / "on another machine")
    schedule = rows.schedule(ada, repo=place)
    assert api.post(f"/schedules/{schedule.pk}/run").status_code == 202
    Occurrence.objects.update(by="an earlier run")  # two so close together by the same person are one wish
    remove_repository(place.path)
    found = expect_problem(api.post(f"/schedules/{schedule.pk}/run"), 422, "unusable-value")
    assert "manage.py repository add" in found["detail"]

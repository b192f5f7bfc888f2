"""/goals: submit, steer, retry, results, and every refusal with its status."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from orchestration import services, streaming
from orchestration.models import Budget, Event, Goal, Rollout
from tests.api.conftest import Api, expect_problem
from tests.support import rows

VERBS = ["cancel", "pause", "resume", "retry"]


@pytest.fixture
def goal(ada: User) -> Goal:
    return services.submit_goal("Make the tests pass", by=ada, origin="api")


def test_a_goal_is_accepted_and_can_be_looked_at(api: Api, ada: User, tmp_path: Path) -> None:
    place = rows.repository(tmp_path)
    asked = {
        "text": "Make the tests pass\nand keep them so",
        "context": {"issue": 17},
        "repository": str(place.pk),
        "base_ref": "main",
        "checks": ["python3 -m unittest"],
        "hidden_checks": ["make exam"],
        "limits": {"calls": 20, "seconds": 600},
        "rollouts_wanted": 2,
        "strategy": "best_of_n",
        "allow_check_edits": True,
    }
    answer = api.post("/goals", asked)
    assert answer.status_code == 202
    assert answer.headers["Retry-After"] == "2"
    shown = api.get(answer.headers["Location"]).json()
    assert shown == answer.json()
    for name in (
        "text",
        "context",
        "repository",
        "base_ref",
        "checks",
        "hidden_checks",
        "strategy",
        "allow_check_edits",
        "rollouts_wanted",
    ):
        assert shown[name] == asked[name], name
    assert (shown["status"], shown["owner"], shown["origin"]) == ("planning", "ada", "api")
    assert [(line["command"], line["origin"], line["turn"]) for line in shown["proof"]] == [
        ("python3 -m unittest", "person", "pending"),
        ("make exam", "hidden", "pending"),
    ]
    assert shown["title"] == "Make the tests pass and keep them so"
    assert (shown["cost"]["max_calls"], shown["cost"]["max_seconds"], shown["cost"]["usd"]) == (20, 600, "0.000000")
    assert Goal.objects.get().submitted_by == ada


@pytest.mark.parametrize("named", ["id", "path"])
def test_a_repository_is_named_by_its_id_or_its_path(api: Api, tmp_path: Path, named: str) -> None:
    place = rows.repository(tmp_path)
    asked = {"text": "x", "repository": str(place.pk if named == "id" else place.path)}
    assert api.post("/goals", asked).json()["repository"] == str(place.pk)
    assert api.post("/goals", {"text": "x", "repository": None}).json()["repository"] is None


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "/text"), ({"text": ""}, "/text"), ({"text": 5}, "/text"), ({"text": None}, "/text"), ([], "/"),
        ("text", "/"), (None, "/"), ({"text": "x", "chekcs": []}, "/chekcs"), ({"text": "x", "checks": "ls"}, "/checks"),
        ({"text": "x", "checks": [5]}, "/checks/0"), ({"text": "x", "hidden_checks": "ls"}, "/hidden_checks"),
        ({"text": "x", "context": []}, "/context"),
        ({"text": "x", "limits": {"calls": "many"}}, "/limits/calls"), ({"text": "x", "limits": {"calls": 0}}, "/limits/calls"),
        ({"text": "x", "limits": {"dollars": 1}}, "/limits/dollars"), ({"text": "x", "rollouts_wanted": True}, "/rollouts_wanted"),
        ({"text": "x", "rollouts_wanted": 17}, "/rollouts_wanted"), ({"text": "x", "strategy": "luck"}, "/strategy"),
        ({"text": "x", "allow_check_edits": "yes"}, "/allow_check_edits"), ({"text": "a\u0000b"}, "/text"),
        ({"text": "\ud83d"}, "/text"), ({"text": "x", "setup": "rm -rf /"}, "/setup"),
    ],
)  # fmt: skip
def test_a_body_of_the_wrong_shape_is_422_and_says_where(api: Api, body: Any, where: str) -> None:
    found = expect_problem(api.post("/goals", json.dumps(body)), 422, "unusable-value")
    assert where in {error["pointer"] for error in found["errors"]}, found["errors"]
    assert not Goal.objects.exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"text": "   "}, "empty"), ({"text": "\x1b[31mred"}, "control character"),
        ({"text": "é" * 60_000}, "GOAL_TEXT_MAX_BYTES"), ({"context": {"a": "\u0000"}}, "NUL"),
        ({"context": {"a": "\ud83d"}}, "context"), ({"limits": {"calls": 100_000}}, "must be a number from 1 to"),
        ({"repository": "/etc"}, "REPO_ROOTS"), ({"repository": str(uuid.UUID(int=7))}, "no repository"),
        ({"repository": "a\u001bb"}, "control character"), ({"base_ref": "two\nlines"}, "one line"),
        ({"checks": [" "]}, "a check is a command"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_used_is_422_with_the_services_sentence(api: Api, more: Any, said: str) -> None:
    found = expect_problem(api.post("/goals", {"text": "x"} | more), 422, "unusable-value")
    assert said in found["detail"]
    assert not Goal.objects.exists()


@pytest.mark.parametrize(
    "body",
    [b"{", b"", b"\xff\xfe", b'{"text": NaN}', b'{"text": 1e999}', b"[" * 100_000, b'{"a":' * 90 + b"1" + b"}" * 90,
     b'{"text": "x", "limits": {"calls": ' + b"9" * 5000 + b"}}", b'\xef\xbb\xbf{"text": "x"}'],
    ids=range(9),
)  # fmt: skip
def test_a_body_that_is_no_json_is_400_or_422_never_500(api: Api, body: bytes) -> None:
    found = expect_problem(api.post("/goals", body), api.post("/goals", body).status_code)
    assert found["status"] in (400, 422)


def test_a_context_that_no_database_could_hold_is_refused(api: Api) -> None:
    deep: Any = "x"
    for _ in range(70):
        deep = [deep]
    expect_problem(api.post("/goals", {"text": "x", "context": {"a": deep}}), 400, "unreadable")


def test_a_body_that_is_too_large_is_413_and_another_type_415(api: Api) -> None:
    expect_problem(api.post("/goals", b" " * (1024 * 1024 + 1)), 413, "too-large")
    expect_problem(api.post("/goals", b"text=x", content_type="application/x-www-form-urlencoded"), 415)
    expect_problem(api.post("/goals", b"text=x", content_type="nonsense"), 415)


def test_other_methods_media_types_and_addresses_are_problems_too(api: Api, stranger: Api, goal: Goal) -> None:
    expect_problem(api.ask("PUT", "/goals", {}), 405)
    expect_problem(api.ask("DELETE", f"/goals/{goal.pk}"), 405)
    expect_problem(api.ask("OPTIONS", "/goals"), 405)
    expect_problem(api.get(f"/goals/{goal.pk}/cancel"), 405)
    expect_problem(api.get("/goals", Accept="text/html"), 406)
    for path in ("/", "/goals/", "/goal", f"/goals/{goal.pk}/", "/api/", "/api/v2/goals", "/api/v1/../x"):
        expect_problem(api.get(path), 404)
        expect_problem(stranger.post(path, {}), 404)
    expect_problem(stranger.get("/goals", Host="elsewhere.example.org"), 400)


@pytest.mark.parametrize("verb", VERBS)
def test_only_whoever_may_see_a_goal_steers_it(api: Api, bobs: Api, stranger: Api, goal: Goal, verb: str) -> None:
    expect_problem(stranger.post(f"/goals/{goal.pk}/{verb}"), 401)
    expect_problem(bobs.post(f"/goals/{goal.pk}/{verb}"), 404, "not-found")
    expect_problem(api.post(f"/goals/{uuid.UUID(int=7)}/{verb}"), 404)
    goal.refresh_from_db()
    assert (goal.status, goal.cancelled_at) == ("planning", None)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_knows_its_fields(api: Api, goal: Goal, verb: str) -> None:
    expect_problem(api.post(f"/goals/{goal.pk}/{verb}", {"because": "x"}), 422)
    expect_problem(api.post(f"/goals/{goal.pk}/{verb}", [1]), 422)
    expect_problem(api.post(f"/goals/{goal.pk}/{verb}?reason=x", {}), 400)


def test_a_goal_is_paused_resumed_cancelled_and_retried(api: Api, ada: User, goal: Goal) -> None:
    path = f"/goals/{goal.pk}"
    paused = api.post(f"{path}/pause", {"reason": "lunch"})
    assert (paused.status_code, paused.json()["status"], paused.json()["reason"]) == (200, "paused", "lunch")
    assert api.post(f"{path}/pause").json()["status"] == "paused", "twice is no error"
    resumed = api.post(f"{path}/resume", {"limits": {"calls": 500}})
    assert (resumed.status_code, resumed.json()["cost"]["max_calls"]) == (202, 500)
    assert resumed.headers["Location"] == f"/api/v1{path}"
    expect_problem(api.post(f"{path}/resume"), 409, "illegal-move")
    expect_problem(api.post(f"{path}/retry"), 409, "illegal-move")
    cancelled = api.post(f"{path}/cancel", {"reason": "another way"})
    assert (cancelled.status_code, cancelled.json()["status"]) == (202, "cancelled")
    expect_problem(api.post(f"{path}/cancel"), 409, "illegal-move")
    expect_problem(api.post(f"{path}/pause"), 409, "illegal-move")
    again = api.post(f"{path}/retry", {"limits": {"calls": 7}})
    assert again.status_code == 202
    shown = api.get(again.headers["Location"]).json()
    assert (shown["retry_of"], shown["owner"], shown["cost"]["max_calls"]) == (str(goal.pk), "ada", 7)
    told = Event.objects.get(goal=goal, kind="goal.cancel_asked")
    assert (told.by, told.reason) == ("ada", "another way")


def test_a_goal_that_paused_at_a_limit_needs_a_higher_one(api: Api, goal: Goal) -> None:
    services.pause_goal(goal.pk, cap="calls", reason="20 of 20 model calls are used")
    expect_problem(api.post(f"/goals/{goal.pk}/resume"), 422, "unusable-value")
    low = Budget.objects.get(goal=goal).max_calls
    expect_problem(api.post(f"/goals/{goal.pk}/resume", {"limits": {"calls": low}}), 422)
    assert api.post(f"/goals/{goal.pk}/resume", {"limits": {"calls": low + 1}}).status_code == 202


def test_a_reason_is_one_clean_line(api: Api, goal: Goal) -> None:
    for reason in ("\x1b[2J", "two\nlines", "x" * 501, "\u0000", 5):
        expect_problem(api.post(f"/goals/{goal.pk}/cancel", {"reason": reason}), 422)
        expect_problem(api.post(f"/goals/{goal.pk}/pause", {"reason": reason}), 422)


def test_filters_are_the_pages_own(api: Api, ada: User, tmp_path: Path) -> None:
    place = rows.repository(tmp_path)
    one = services.submit_goal("Tidy the kitchen", by=ada, repo=place, origin="api")
    two = services.submit_goal("Paint the fence", by=ada, origin="schedule")
    services.cancel_goal(two.pk)
    Goal.objects.filter(pk=one.pk).update(verified=True)
    for query, found in {
        "q=kitchen": [one], f"q={str(two.pk)[:8]}": [two], "status=cancelled": [two], "status=planning&status=cancelled": [two, one],
        "verified=true": [one], f"repository={place.pk}": [one], "owner=ada": [two, one], "owner=bob": [], "origin=schedule": [two],
        "since=2100-01-01T00:00:00Z": [], "until=2100-01-01T00:00:00Z": [two, one],
    }.items():  # fmt: skip
        listed = [row["id"] for row in api.get(f"/goals?{query}").json()["results"]]
        assert listed == [str(goal.pk) for goal in found], query


def test_the_result_is_a_patch_and_a_bundle(api: Api, bobs: Api, ada: User) -> None:
    goal = rows.worked_goal(ada)
    rollout = goal.rollouts.get()
    for path in (f"/goals/{goal.pk}", f"/rollouts/{rollout.pk}"):
        patch = api.get(f"{path}/patch")
        assert patch.content == rows.PATCH
        assert patch.headers["Content-Type"] == "text/x-diff"
        assert patch.headers["Content-Disposition"].endswith('.patch"')
        bundle = api.get(f"{path}/bundle")
        assert bundle.content.startswith(b"# v2 git bundle")
        assert bundle.headers["Content-Security-Policy"] == "sandbox"
        for name in ("patch", "bundle"):
            expect_problem(bobs.get(f"{path}/{name}"), 404)
            expect_problem(api.get(f"{path}/{name}?x=1"), 400)


def test_a_goal_is_handed_over_with_all_that_the_next_one_needs(api: Api, bobs: Api, ada: User) -> None:
    goal = rows.worked_goal(ada)
    handed = api.get(f"/goals/{goal.pk}/handover").json()
    assert handed["goal"]["id"] == str(goal.pk)
    assert handed["go_on"][-1]["command"].startswith("manage.py goal ")
    assert {"proof", "plans", "tried", "reviews", "cost", "open_questions", "result"} < handed.keys()
    expect_problem(bobs.get(f"/goals/{goal.pk}/handover"), 404)


def test_a_goal_without_a_result_says_what_is_missing(api: Api, ada: User, goal: Goal) -> None:
    assert "no patch (yet)" in expect_problem(api.get(f"/goals/{goal.pk}/patch"), 404)["detail"]
    assert "no commits (yet)" in expect_problem(api.get(f"/goals/{goal.pk}/bundle"), 404)["detail"]
    many = services.submit_goal("x", by=ada, rollouts=3)
    assert "none of goal" in expect_problem(api.get(f"/goals/{many.pk}/patch"), 404)["detail"]
    chosen = many.rollouts.get(number=2)
    Goal.objects.filter(pk=many.pk).update(selected=chosen)
    assert "rollout 2" in expect_problem(api.get(f"/goals/{many.pk}/patch"), 404)["detail"]
    assert Rollout.objects.filter(goal=many).count() == 3


def test_the_events_of_a_goal_come_in_order_and_after_a_number(api: Api, bobs: Api, goal: Goal) -> None:
    services.cancel_goal(goal.pk)
    listed = api.get(f"/goals/{goal.pk}/events").json()["results"]
    assert [row["seq"] for row in listed] == list(range(1, len(listed) + 1))
    later = api.get(f"/goals/{goal.pk}/events?after=2").json()["results"]
    assert later == listed[2:]
    ends = api.get(f"/goals/{goal.pk}/events?kind=goal.status&page_size=1").json()
    assert ends["results"][0]["kind"] == "goal.status"
    expect_problem(api.get(f"/goals/{goal.pk}/events?after=x"), 400)
    expect_problem(api.get(f"/goals/{goal.pk}/events?after={2**40}"), 400)
    expect_problem(api.get(f"/goals/{goal.pk}/events?goal={goal.pk}"), 400)
    expect_problem(bobs.get(f"/goals/{goal.pk}/events"), 404)
    expect_problem(bobs.get(f"/goals/{goal.pk}/events", Accept="text/event-stream"), 404)


def test_the_answer_says_which_request_it_was(api: Api, goal: Goal) -> None:
    assert api.get("/goals", **{"X-Request-ID": "build-17.a_b"}).headers["X-Request-ID"] == "build-17.a_b"
    for odd in ("", "two words", "x" * 200, "<script>"):
        own = api.get("/goals", **{"X-Request-ID": odd}).headers["X-Request-ID"]
        assert uuid.UUID(own)
        assert own != odd


def test_a_server_full_of_streams_says_when_to_come_back(api: Api, goal: Goal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "open_streams", streaming.MOST)
    answer = api.get(f"/goals/{goal.pk}/events", Accept="text/event-stream")
    expect_problem(answer, 503, "unavailable")
    assert answer.headers["Retry-After"] == "30"
    assert api.get(f"/goals/{goal.pk}/events").status_code == 200, "a page is no stream"


def test_a_cancelled_goal_says_what_is_not_confirmed_and_can_be_forced_after_ten_seconds(api: Api, goal: Goal) -> None:
    claimed = services.pull(["planning"], "host:1:abcdef")
    assert claimed is not None
    answer = api.post(f"/goals/{goal.pk}/cancel", {"reason": "enough"})
    assert answer.status_code == 202
    told = answer.json()
    assert told["status"] == "cancelling"
    assert [(one["what"], one["confirmed_at"] is None) for one in told["cancel"]["confirmations"]] == [
        ("sandbox", True),
        ("reservations", False),
    ]
    assert (told["cancel"]["unconfirmed"], told["cancel"]["can_force"]) == (1, False)
    early = expect_problem(api.post(f"/goals/{goal.pk}/cancel", {"force": True}), 409)
    assert "it can be forced in" in early["detail"]
    Goal.objects.filter(pk=goal.pk).update(cancelled_at=goal.created_at - timedelta(seconds=11))
    assert api.get(f"/goals/{goal.pk}").json()["cancel"]["can_force"] is True
    forced = api.post(f"/goals/{goal.pk}/cancel", {"force": True, "reason": "it hangs"}).json()
    assert (forced["status"], forced["cancel"]["unconfirmed"]) == ("cancelled", 1)
    assert forced["cancel"]["confirmations"][0]["subject"] == "the plan on host:1:abcdef"


def test_a_pause_may_let_what_runs_go_on_and_both_ways_take_a_reason(api: Api, goal: Goal) -> None:
    paused = api.post(f"/goals/{goal.pk}/pause", {"reason": "lunch", "finish_running": True})
    assert (paused.status_code, paused.json()["finishes_running"]) == (200, True)
    stopped = api.post(f"/goals/{goal.pk}/pause", {"reason": "dinner"})
    assert (stopped.status_code, stopped.json()["finishes_running"]) == (200, False)
    expect_problem(api.post(f"/goals/{goal.pk}/pause", {"finish_running": "yes"}), 422)
    assert api.post(f"/goals/{goal.pk}/resume", {"reason": "fed"}).status_code == 202
    assert Event.objects.get(goal=goal, kind="goal.status", old="paused").reason == "fed"


def test_a_retry_from_a_step_starts_where_it_started(api: Api, ada: User) -> None:
    goal = rows.worked_goal(ada)
    services.cancel_goal(goal.pk)
    Goal.objects.filter(pk=goal.pk).update(status="failed", base_sha="b" * 40)
    goal.runs.filter(kind="step").update(base_commit="b" * 40, started_at=goal.created_at)
    again = api.post(f"/goals/{goal.pk}/retry", {"from_step": 0, "rollout": 1})
    assert again.status_code == 202
    rollout = Rollout.objects.get(goal=again.json()["id"])
    assert (rollout.head, rollout.head_bundle) == ("b" * 40, None)
    for asked in ({"from_step": 9}, {"from_step": 0, "rollout": 2}):
        expect_problem(api.post(f"/goals/{goal.pk}/retry", asked), 422, "unusable-value")
    expect_problem(api.post(f"/goals/{goal.pk}/retry", {"from_step": -1}), 422)

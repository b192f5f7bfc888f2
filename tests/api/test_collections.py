"""Every collection: who may see what, pages, filters, hostile texts, a constant number of queries."""

from __future__ import annotations

import base64
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.renderers import JSONRenderer

from orchestration import services
from orchestration.models import Artifact, Call, Goal
from orchestration.services.access import create_token
from tests.api.conftest import Api, expect_problem
from tests.support import rows

OWNED = [
    "goals",
    "rollouts",
    "plans",
    "steps",
    "runs",
    "calls",
    "reviews",
    "artifacts",
    "schedules",
    "repositories",
    "members",
]
SHARED = ["workers", "queues"]
LISTS = [*OWNED, "events", *SHARED]


@pytest.fixture
def world(ada: User, tmp_path: Path) -> Goal:
    """Everything that ada may see, one of each kind at least."""
    place = rows.repository(tmp_path)
    rows.worker()
    rows.schedule(ada, repo=place)
    return rows.worked_goal(ada, repo=place.pk)


def first(api: Api, name: str) -> str:
    return str(api.get(f"/{name}").json()["results"][0]["id"])


def all_pages(api: Api, path: str) -> list[Any]:
    found, following = [], path
    while following:
        page = api.get(following).json()
        found += page["results"]
        following = (page["next"] or "").replace("http://testserver", "")
    return found


@pytest.mark.parametrize("name", LISTS)
def test_whoever_may_sees_rows_and_a_stranger_is_asked_who_he_is(
    api: Api, stranger: Api, world: Goal, name: str
) -> None:
    page = api.get(f"/{name}").json()
    assert page["results"], name
    assert set(page) == {"next", "previous", "results"}
    answer = stranger.get(f"/{name}")
    expect_problem(answer, 401, "not-authenticated")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("name", [*(name for name in OWNED if name != "members"), "events"])  # bob is one, elsewhere
def test_another_user_sees_nothing_of_it(bobs: Api, world: Goal, name: str) -> None:
    assert bobs.get(f"/{name}").json()["results"] == []


@pytest.mark.parametrize("name", OWNED)
def test_a_row_is_shown_by_its_id_and_is_not_there_for_others(
    api: Api, bobs: Api, stranger: Api, world: Goal, name: str
) -> None:
    row = first(api, name)
    listed = api.get(f"/{name}").json()["results"][0]
    shown = api.get(f"/{name}/{row}").json()
    assert str(shown["id"]) == row
    assert set(listed) <= set(shown)
    expect_problem(stranger.get(f"/{name}/{row}"), 401)
    if name in OWNED:
        expect_problem(bobs.get(f"/{name}/{row}"), 404, "not-found")


@pytest.mark.parametrize("name", OWNED)
@pytest.mark.parametrize(
    "row",
    [str(uuid.UUID(int=7)), "0", "99999999999999999999999999", "nonsense", "%00", "%F0%9F%92%A9", "a" * 300, "%ff"],
)
def test_an_id_of_nothing_is_404(api: Api, world: Goal, name: str, row: str) -> None:
    expect_problem(api.get(f"/{name}/{row}"), 404, "not-found")


def test_a_superuser_sees_what_others_own(world: Goal, api: Api) -> None:
    boss = User.objects.create_superuser("boss")
    mine = Api(create_token(user=boss, name="all")[1])
    assert mine.get(f"/goals/{world.pk}").status_code == 200


@pytest.mark.parametrize(
    "name", ["goals", "rollouts", "plans", "steps", "runs", "calls", "reviews", "events", "artifacts"]
)
def test_a_goals_own_rows_are_found_by_its_id(api: Api, ada: User, world: Goal, name: str) -> None:
    rows.worked_goal(ada, "another")
    if name == "goals":
        assert [row["id"] for row in api.get(f"/goals?q={str(world.pk)[:8]}").json()["results"]] == [str(world.pk)]
        return
    found = all_pages(api, f"/{name}?goal={world.pk}")
    assert 0 < len(found) < len(all_pages(api, f"/{name}"))
    if name != "calls":
        assert {row["goal"] for row in found} == {str(world.pk)}
    assert api.get(f"/{name}?goal={uuid.uuid4()}").json()["results"] == []


@pytest.mark.parametrize(
    "query",
    [
        "page_size=1000000000", "page_size=0", "page_size=-1", "page_size=x", "page_size=", "page_size=1.5",
        "cursor=garbage", "cursor=", "cursor=%00", "cursor=bm90IGpzb24", "cursor=WzAsICJub3doZW4iLCAieCJd",
        "cursor=W10", "cursor=e30", "cursor=" + "A" * 600, "cursor=%F0%9F%92%A9",
        "status=nonsense", "since=yesterday", "since=0001-01-01T00:00:00%2B23:59", "until=9999-12-31T23:59:59-23:59",
        "repository=nothing", "stauts=failed", "format=xml", "q=%00", "q=", "repository=",
        "verified=", "verified=maybe", "verified=true&verified=false",
        "owner=ada&owner=bob", "page_size=5&page_size=6",
    ],
)  # fmt: skip
def test_a_query_that_cannot_be_read_is_400_and_says_where(api: Api, world: Goal, query: str) -> None:
    found = expect_problem(api.get(f"/goals?{query}"), 400, "unreadable")
    assert found["errors"][0]["parameter"] == query.split("=")[0]
    assert found["errors"][0]["detail"]


@pytest.mark.parametrize("name", ["goals", "steps", "calls", "events"])
@pytest.mark.parametrize(
    "place",
    [["0"], [0, "x"], [0, "2026-01-01"], [0, "2026-01-01T00:00:00"], [0, "9" * 30], [0, "0001-01-01T00:00:00+23:59", "1"],
     [2, "1"], [0, None], {"a": 1}, 5, [0, "2026-01-01T00:00:00+00:00", "\0", "\0"], [[], "1"]],
)  # fmt: skip
def test_a_forged_cursor_is_400_and_never_reaches_the_database(api: Api, world: Goal, name: str, place: Any) -> None:
    forged = base64.urlsafe_b64encode(json.dumps(place).encode()).decode()
    expect_problem(api.get(f"/{name}?cursor={forged}"), 400, "unreadable")


@pytest.mark.parametrize("name", ["runs", "calls", "steps", "events", "schedules", "artifacts", "rollouts"])
def test_a_filter_with_a_typo_is_refused_not_ignored(api: Api, world: Goal, name: str) -> None:
    found = expect_problem(api.get(f"/{name}?gaol=1"), 400)
    assert "goal" in found["detail"] or "paused" in found["detail"]


def test_pages_follow_each_other_both_ways_while_rows_come(api: Api, ada: User) -> None:
    goals = [str(services.submit_goal(f"goal {n}", by=ada).pk) for n in range(7)][::-1]
    # two of the same instant: the id decides
    Goal.objects.filter(pk__in=goals[2:5]).update(created_at=Goal.objects.get(pk=goals[2]).created_at)
    order = [str(pk) for pk in Goal.objects.order_by("-created_at", "-id").values_list("pk", flat=True)]
    one = api.get("/goals?page_size=3").json()
    assert one["previous"] is None
    services.submit_goal("a goal that comes meanwhile", by=ada)
    two = api.get(one["next"].replace("http://testserver", "")).json()
    three = api.get(two["next"].replace("http://testserver", "")).json()
    assert [row["id"] for page in (one, two, three) for row in page["results"]] == order
    assert three["next"] is None
    back = api.get(three["previous"].replace("http://testserver", "")).json()
    assert [row["id"] for row in back["results"]] == [row["id"] for row in two["results"]]
    front = api.get(back["previous"].replace("http://testserver", "")).json()
    assert [row["id"] for row in front["results"]] == order[:3]
    assert front["previous"] is not None, "the goal that came meanwhile"


def test_each_order_can_be_paged(api: Api, ada: User, world: Goal) -> None:
    for n in range(3):
        rows.worked_goal(ada, f"goal {n}")
        rows.worker(f"host:{n}:x")
        rows.schedule(ada, name=f"schedule {n}")
    for name in (
        "rollouts",
        "plans",
        "steps",
        "runs",
        "calls",
        "reviews",
        "events",
        "artifacts",
        "schedules",
        "workers",
    ):
        whole = api.get(f"/{name}?page_size=200").json()["results"]
        assert len(whole) > 3
        assert all_pages(api, f"/{name}?page_size=2") == whole, name


@pytest.mark.parametrize("name", LISTS)
def test_a_list_asks_the_same_number_of_queries_however_long_it_is(api: Api, ada: User, world: Goal, name: str) -> None:
    api.get(f"/{name}")
    with CaptureQueriesContext(connection) as short:
        api.get(f"/{name}")
    for n in range(3):
        rows.worked_goal(ada, f"goal {n}")
        rows.worker(f"host:{n}:x")
        rows.schedule(ada, name=f"schedule {n}")
    with CaptureQueriesContext(connection) as long:
        api.get(f"/{name}")
    assert len(long) == len(short) <= 5


def test_what_is_heavy_stays_in_the_database(api: Api, world: Goal) -> None:
    with CaptureQueriesContext(connection) as asked:
        for name in ("goals", "calls", "runs", "artifacts"):
            api.get(f"/{name}")
    columns = " ".join(query["sql"].split(" FROM ")[0] for query in asked)
    for heavy in ('goal"."context"', 'call"."answer"', 'call"."request"', 'run"."error"', 'artifact"."data"'):
        assert heavy not in columns


@pytest.mark.parametrize("name", ["plans", "steps", "runs", "calls", "reviews"])
def test_hostile_text_is_data_that_no_browser_renders(api: Api, world: Goal, name: str) -> None:
    found = [first(api, name)] if name != "calls" else [str(pk) for pk in Call.objects.values_list("pk", flat=True)]
    for row in found:
        answer = api.get(f"/{name}/{row}")
        assert "<script>alert(1)</script>" in json.dumps(answer.json())
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        assert b"\x1b" not in answer.content


def test_an_artifacts_bytes_are_an_attachment_that_can_be_checked(api: Api, bobs: Api, world: Goal) -> None:
    row = Artifact.objects.get(kind="output")
    answer = api.get(f"/artifacts/{row.pk}/content")
    assert answer.headers["Content-Type"] == "text/html"
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "sandbox"
    assert answer.headers["ETag"] == f'"{row.sha256}"'
    assert len(answer.content) == row.size
    again = api.get(f"/artifacts/{row.pk}/content", **{"If-None-Match": f'W/"x", "{row.sha256}"'})
    assert (again.status_code, again.content) == (304, b"")
    expect_problem(bobs.get(f"/artifacts/{row.pk}/content"), 404)


def test_an_artifact_of_nobody_is_for_superusers_and_a_damaged_one_says_so(api: Api, world: Goal) -> None:
    row = rows.foreign_artifact()
    expect_problem(api.get(f"/artifacts/{row.pk}"), 404)
    boss = Api(create_token(user=User.objects.create_superuser("boss"), name="all")[1])
    assert boss.get(f"/artifacts/{row.pk}").json()["id"] == row.pk
    assert "damaged" in expect_problem(boss.get(f"/artifacts/{row.pk}/content"), 404)["detail"]


def test_a_queue_that_nobody_serves_says_which_command_starts_a_worker(api: Api, world: Goal) -> None:
    queues = {row["queue"]: row for row in api.get("/queues").json()["results"]}
    assert queues["planning"]["workers"] == 1
    assert queues["planning"]["waiting"] == 1
    assert queues["review"]["workers"] == 0
    assert queues["review"]["command"].endswith("--queues review")


def test_half_a_surrogate_pair_that_a_model_wrote_can_be_said_in_json() -> None:
    said = JSONRenderer().render({"said": "\ud83d and \u00e9"})
    assert json.loads(said) == {"said": "\ud83d and \u00e9"}

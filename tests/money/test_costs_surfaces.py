"""Costs as a page, as CSV and in the API: one's own teams only, hostile names stay text, an address that is wrong is told."""

from __future__ import annotations

import csv
import re

import pytest
from django.contrib.auth.models import User
from django.test import Client

from orchestration.services.access import create_token
from tests.api.conftest import Api, expect_problem
from tests.lists.conftest import logged_in
from tests.support.people import outsider
from tests.support.rows import HOSTILE, ended_goal, paid_call


@pytest.fixture
def owner(ada: User) -> Client:
    return logged_in(ada)


@pytest.fixture
def api(ada: User) -> Api:
    return Api(create_token(user=ada, name="tests")[1])


def test_the_page_leads_with_a_verified_success_and_its_n(ada: User, owner: Client) -> None:
    paid_call(ended_goal(ada), "0.25")
    paid_call(ended_goal(ada, status="failed", verified=False), None)
    text = owner.get("/costs/").content.decode()
    assert text.index("USD per verified success") < text.index("Model calls by model")
    assert "<b>0.25 USD and 1 call at an unknown price</b>" in text
    assert "1 of 2" in text
    assert len(re.findall(r"<h1\b", text)) == 1
    assert not re.search(r"\sstyle=|\son\w+=|<script>|<style", text)
    assert 'aria-current="page"' in text[text.index("/costs/") :][:60]


def test_an_empty_page_says_what_to_do(owner: Client) -> None:
    assert "manage.py price set" in owner.get("/costs/").content.decode()


@pytest.mark.parametrize("by", ["goal", "step", "model", "day"])
def test_what_people_and_models_wrote_stays_text(ada: User, owner: Client, by: str) -> None:
    paid_call(ended_goal(ada, "<script>alert(1)</script>"), "1", kind="step", model=HOSTILE)
    text = owner.get(f"/costs/?by={by}").content.decode()
    assert "alert(1)" in text
    assert "<script>alert" not in text
    assert "\x1b" not in text


def test_a_part_of_the_address_that_is_wrong_is_told_and_ignored(ada: User, owner: Client) -> None:
    paid_call(ended_goal(ada), "0.25")
    text = owner.get("/costs/?by=nothing&days=0&team=default").content.decode()
    assert text.count("is ignored") == 2
    assert "0.25 USD" in text


def test_the_csv_has_the_same_rows(ada: User, owner: Client) -> None:
    paid_call(ended_goal(ada), "0.25")
    answer = owner.get("/costs/costs.csv?by=role")
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="costs-by-role-')
    lines = list(csv.reader(answer.content.decode().splitlines()))
    assert lines[0][:3] == ["key", "name", "calls"]
    assert lines[1] == ["plan", "planner", "1", "100", "0", "10", "0.250000", "0"]


def test_nothing_of_another_team_is_in_it(ada: User, owner: Client, api: Api) -> None:
    bob = outsider("bob")
    paid_call(ended_goal(bob, "secret"), "7")
    assert "7.00 USD" not in owner.get("/costs/?by=goal").content.decode()
    assert "secret" not in owner.get("/costs/costs.csv?by=goal").content.decode()
    assert api.get("/costs?by=goal").json()["results"] == []
    assert len(Api(create_token(user=bob, name="x")[1]).get("/costs?by=goal").json()["results"]) == 1
    expect_problem(api.get("/costs?team=elsewhere"), 422)


def test_the_api_answers_by_model_since_a_moment(ada: User, api: Api) -> None:
    paid_call(ended_goal(ada), "0.25", days=2)
    paid_call(ended_goal(ada), None)
    found = api.get("/costs?by=model&since=2020-01-01T00:00:00Z&team=default").json()
    assert (found["by"], found["since"][:10], found["more"]) == ("model", "2020-01-01", False)
    assert [(row["name"], row["usd"], row["unpriced_calls"]) for row in found["results"]] == [
        ("venice/large", "0.250000", 1)
    ]
    assert found["verified_success"]["by_role"][0] == {
        "name": "planner", "verified": 2, "goals": 2, "usd": "0.250000", "unpriced_calls": 1,
        "usd_per_verified_success": "0.125000",
    }  # fmt: skip
    assert api.get("/costs?days=1").json()["total"]["usd"] is None, "unknown, not 0"


@pytest.mark.parametrize(
    "query",
    [
        "by=colour",
        "days=0",
        "since=yesterday",
        "gaol=1",
        "by=",
        "days=3&since=2026-01-01T00:00:00Z",
        "since=2026-02-01T00:00:00Z&until=2026-01-01T00:00:00Z",
    ],
)
def test_a_query_that_cannot_be_used_is_refused(api: Api, query: str) -> None:
    assert expect_problem(api.get(f"/costs?{query}"), 400)["errors"]

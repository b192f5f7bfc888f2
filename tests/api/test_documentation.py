"""What is documented is what there is: the committed OpenAPI file, the offline pages, the problems."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client, RequestFactory

from orchestration import errors
from orchestration.api import problems
from orchestration.api.problems import handle
from tests.api.conftest import Api, expect_problem
from tests.support.installation import BASE

COMMITTED = BASE / "docs" / "openapi.yaml"
GUIDE = (BASE / "docs" / "api.md").read_text()


@pytest.fixture
def reader(ada: User) -> Client:
    client = Client()
    client.force_login(ada)
    return client


@pytest.fixture(scope="module")
def document() -> Any:
    return yaml.safe_load(COMMITTED.read_text())


def test_the_committed_document_is_what_the_code_says(tmp_path: Any) -> None:
    made = tmp_path / "openapi.yaml"
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(made))
    assert made.read_text() == COMMITTED.read_text(), "run `make openapi` and commit docs/openapi.yaml"


def test_each_operation_says_what_can_go_wrong_in_one_shape(document: Any) -> None:
    assert document["openapi"].startswith("3.1")
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len(operations) >= 40
    for operation in operations:
        assert operation["summary"], operation["operationId"]
        assert {"400", "401", "406", "503"} <= set(operation["responses"]), operation["operationId"]
        refused = [answer for status, answer in operation["responses"].items() if status >= "400"]
        assert all(answer["$ref"].startswith("#/components/responses/") for answer in refused)
        assert operation["security"] == [{"token": []}, {"cookieAuth": []}]


def test_the_pages_work_offline_and_only_there_styles_may_be_inline(reader: Client, client: Client) -> None:
    answer = client.get("/api/docs/")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/login/?next=/api/docs/")
    assert reader.get("/api/docs").headers["Location"] == "/api/docs/"
    page = reader.get("/api/docs/")
    policy = dict(part.strip().split(" ", 1) for part in page.headers["Content-Security-Policy"].split(";"))
    assert policy["style-src"] == "'self' 'unsafe-inline'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    named = re.findall(r'(?:src|href)="([^"]+)"', page.content.decode())
    assert named
    assert all(address.startswith("/") for address in named)
    assert "<script>" not in page.content.decode()
    for address in named:
        assert reader.get(address.replace("&amp;", "&")).status_code == 200, address
    assert "unsafe" not in reader.get("/api/v1/goals").headers["Content-Security-Policy"]


def test_the_document_is_served_to_whoever_may_use_the_api(api: Api, reader: Client, stranger: Api) -> None:
    for answer in (api.get("/openapi.yaml"), reader.get("/api/v1/openapi.yaml")):
        assert yaml.safe_load(answer.content)["info"]["title"] == "CompyMac control panel"
    expect_problem(stranger.get("/openapi.yaml"), 401)


def test_a_broken_view_answers_500_without_its_secrets() -> None:
    request = RequestFactory().get("/api/v1/goals")
    answer = handle(RuntimeError("password=hunter2"), {"request": type("Wrapped", (), {"_request": request})()})
    assert (answer.status_code, answer.headers["Content-Type"]) == (500, "application/problem+json")
    assert b"hunter2" not in answer.content


def test_each_error_of_ours_has_a_status() -> None:
    ours = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(ours) > 8
    for kind in ours:
        request = RequestFactory().get("/api/v1/goals")
        answer = handle(kind("because"), {"request": type("Wrapped", (), {"_request": request})()})
        assert 400 <= answer.status_code < 500, kind
        assert b"because" in answer.content


def test_the_guide_names_each_kind_of_problem() -> None:
    kinds = {kind for *_, kind in problems.KINDS} | set(problems.OF_STATUS.values())
    assert {kind for kind in kinds if f"`{kind}`" not in GUIDE} == set()


def test_the_guide_names_each_collection(document: Any) -> None:
    nouns = {path.removeprefix("/api/v1/").split("/")[0] for path in document["paths"]}
    assert {noun for noun in nouns if f"`/{noun}" not in GUIDE} == set()

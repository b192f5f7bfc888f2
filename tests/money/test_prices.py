"""Where a price comes from: our own table, else the public one for servers that it knows; else it is unknown."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from orchestration.errors import BadInput
from orchestration.models import ModelPrice
from orchestration.selectors.prices import price_of, table
from orchestration.services.access import create_token
from orchestration.services.prices import set_price
from tests.api.conftest import Api, expect_problem
from tests.support.people import member, outsider, team

OPENAI = "model gpt-5 at https://api.openai.com/v1"
VENICE = "model qwen3-235b at https://api.venice.ai/api/v1"
HERE = "model gpt-5 at http://127.0.0.1:11434/v1"

pytestmark = pytest.mark.django_db


def told(*words: str) -> Any:
    out = StringIO()
    call_command("price", *words, "--json", stdout=out)
    table.forget()  # the test's own transaction never commits
    return json.loads(out.getvalue())


def test_a_server_with_public_prices_has_them_and_no_other_one_does() -> None:
    found = price_of(OPENAI, "gpt-5", team().pk)
    assert found is not None
    assert found.source == "genai-prices"
    assert 0 < found.cached < found.input < found.output
    assert price_of(VENICE, "qwen3-235b", team().pk) is None
    assert price_of(HERE, "gpt-5", team().pk) is None, "a model of one's own may be called anything"
    assert price_of("", "gpt-5", team().pk) is None
    assert price_of(OPENAI, "a model that nobody knows", team().pk) is None


def test_a_set_price_counts_before_the_public_one_and_for_whom_it_is_meant() -> None:
    told("set", "gpt-*", "--input", "1", "--output", "2", "--provider", "api.openai.com")
    told("set", "gpt-*", "--input", "3", "--cached", "0.5", "--output", "4", "--team", team("shop").name)
    ours, theirs = price_of(OPENAI, "gpt-5", team().pk), price_of(OPENAI, "gpt-5", team("shop").pk)
    assert ours is not None
    assert theirs is not None
    assert (ours.input, ours.cached, ours.output) == (1, 1, 2)
    assert (theirs.input, theirs.cached, theirs.output) == (3, Decimal("0.5"), 4)
    assert price_of(HERE, "gpt-5", team().pk) is None
    assert {row["team"] for row in told("list")} == {None, "shop"}
    assert [row["model"] for row in told("list", "--team", "shop")] == ["gpt-*"]


def test_a_price_counts_from_its_date_on_and_the_one_before_stays() -> None:
    told("set", "m", "--input", "1", "--output", "1", "--from", "2026-01-01")
    told("set", "m", "--input", "2", "--output", "2", "--from", "2026-03-01T12:00")
    told("set", "m", "--input", "9", "--output", "9", "--from", (timezone.now() + timedelta(days=2)).isoformat())
    now = price_of(HERE, "m", None)
    then = price_of(HERE, "m", None, timezone.now().replace(year=2026, month=2, day=1))
    assert now is not None
    assert then is not None
    assert (now.input, then.input) == (2, 1)
    assert ModelPrice.objects.count() == 3


@pytest.mark.parametrize("wrong", ["-1", "x", "NaN", "1e9", "0.0000001"])
def test_a_price_that_cannot_be_is_refused_in_a_sentence(wrong: str) -> None:
    with pytest.raises(CommandError, match="USD per million tokens"):
        call_command("price", "set", "m", f"--input={wrong}", "--output=1")
    with pytest.raises(BadInput, match="which model"):
        set_price(" ", input_usd=1, output_usd=1, by="ada")
    with pytest.raises(CommandError, match="a date looks like"):
        call_command("price", "set", "m", "--input=1", "--output=1", "--from=yesterday")
    assert not ModelPrice.objects.exists()


def test_admins_set_their_teams_prices_by_the_api_and_others_do_not_see_them() -> None:
    set_price("everybody's", input_usd=1, output_usd=1, by="shell")
    asked = {"model": "qwen3-*", "provider": "api.venice.ai", "input_usd": "0.9", "output_usd": "4.5"}
    ada, bob = (Api(create_token(member(name, role), "t")[1]) for name, role in (("ada", "admin"), ("bob", "operator")))
    made = ada.post("/api/v1/prices", asked)
    assert made.status_code == 201
    assert (made.json()["team"], made.json()["cached_input_usd"], made.json()["by"]) == ("default", "0.900000", "ada")
    assert {row["model"] for row in bob.get("/api/v1/prices").json()["results"]} == {"everybody's", "qwen3-*"}
    expect_problem(bob.post("/api/v1/prices", asked), 403)
    expect_problem(ada.post("/api/v1/prices", asked | {"output_usd": "-1"}), 422)
    mallory = Api(create_token(outsider("mallory"), "t")[1])
    assert [row["model"] for row in mallory.get("/api/v1/prices").json()["results"]] == ["everybody's"]
    expect_problem(mallory.get(made["Location"]), 404)

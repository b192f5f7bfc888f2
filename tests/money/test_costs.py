"""Costs: what calls cost by each thing they belong to, what a verified success costs, and that an unknown price is never 0."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from orchestration.costs import BY, Amount, Costs, Worth, csv_lines, last_days
from orchestration.models import Goal
from orchestration.selectors.costs import costs
from tests.support.rows import ended_goal as goal
from tests.support.rows import paid_call as call

NOW = datetime(2026, 3, 10, 15, 30, tzinfo=UTC)


def found(by: str = "model", days: int = 30) -> Costs:
    return costs(Goal.objects.all(), last_days(days, timezone.now() + timedelta(seconds=1)), by)


def amounts(by: str, days: int = 30) -> dict[str, str]:
    return {row.name: str(row.amount) for row in found(by, days).rows}


# ---- purely


@pytest.mark.parametrize(
    ("amount", "said", "usd"),
    [
        (Amount(), "0.00 USD", "0.000000"),
        (Amount(120_000), "0.12 USD", "0.120000"),
        (Amount(0, 1), "unknown (1 call at an unknown price)", None),
        (Amount(120_000, 2), "0.12 USD and 2 calls at an unknown price", "0.120000"),
    ],
)
def test_an_amount_is_never_0_for_calls_whose_price_nobody_knows(amount: Amount, said: str, usd: str | None) -> None:
    assert (str(amount), amount.usd) == (said, usd)


def test_a_verified_success_pays_for_the_goals_that_failed_and_none_is_no_number() -> None:
    assert Worth("all", 2, 5, Amount(1_000_001)).each == Amount(500_001)
    assert Worth("all", 0, 5, Amount(1_000_000)).each is None
    assert Worth("all", 0, 5, Amount(1_000_000)).said == "no verified success"
    assert Worth("all", 1, 1, Amount(0, 3)).told()["usd_per_verified_success"] is None


def test_days_are_whole_ones_in_utc() -> None:
    assert last_days(1, NOW).since == datetime(2026, 3, 10, tzinfo=UTC)
    assert last_days(30, NOW).since == datetime(2026, 2, 9, tzinfo=UTC)


# ---- of rows


def test_calls_are_summed_by_each_thing_that_they_belong_to(ada: User) -> None:
    one, two = goal(ada, "one"), goal(None, "two", team="default")
    call(one, "0.20")
    call(one, "0.30", kind="step", model="small")
    call(two, "0.01", kind="review", days=1)
    short = [str(made.pk)[:8] for made in (one, two)]
    assert amounts("goal") == {f"{short[0]} one": "0.50 USD", f"{short[1]} two": "0.01 USD"}
    assert amounts("rollout") == {f"{short[0]} rollout 1": "0.50 USD", f"{short[1]} rollout 1": "0.01 USD"}
    assert amounts("step") == {
        f"{short[0]} rollout 1, plan 1, step 0: mend it": "0.30 USD",
        f"{short[0]} rollout 1: plans and reviews": "0.20 USD",
        f"{short[1]} rollout 1: plans and reviews": "0.01 USD",
    }
    assert amounts("role") == {"executor": "0.30 USD", "planner": "0.20 USD", "reviewer": "0.01 USD"}
    assert amounts("model") == {"venice/small": "0.30 USD", "venice/large": "0.21 USD"}
    assert amounts("user") == {"ada": "0.50 USD", "nobody (from the shell)": "0.01 USD"}
    assert amounts("team") == {"default": "0.51 USD"}
    assert list(amounts("day").values()) == ["0.50 USD", "0.01 USD"]
    assert str(found("day").total.amount) == "0.51 USD"
    assert found("day").total.prompt_tokens == 300


def test_a_price_that_nobody_knows_is_counted_and_not_a_zero(ada: User) -> None:
    made = goal(ada)
    call(made, None)
    assert amounts("model") == {"venice/large": "unknown (1 call at an unknown price)"}
    call(made, "0.5", kind="review")
    assert str(found().total.amount) == "0.50 USD and 1 call at an unknown price"
    assert found().success.said == "0.50 USD and 1 call at an unknown price"


def test_what_is_in_flight_waits_what_was_lost_counts_and_what_failed_unbilled_is_no_unknown_price(ada: User) -> None:
    made = goal(ada)
    nothing = {"prompt_tokens": 0, "completion_tokens": 0}
    call(made, None, status="intent", reserved_tokens=9, **nothing)
    assert not found().rows
    call(made, None, status="unknown", reserved_tokens=9, model="", **nothing)
    call(made, None, status="failed", reserved_tokens=9, model="other", **nothing)
    assert amounts("model") == {
        "venice/a model that has not answered": "unknown (1 call at an unknown price)",
        "venice/other": "0.00 USD",
    }


def test_older_calls_are_not_of_the_period(ada: User) -> None:
    made = goal(ada)
    call(made, "1", days=3)
    assert not found(days=2).rows
    assert str(found(days=4).total.amount) == "1.00 USD"


def test_a_verified_success_is_one_by_checks_and_costs_all_that_its_model_was_paid_for(ada: User) -> None:
    good, unverified, failed = goal(ada), goal(ada, verified=False), goal(ada, status="failed", verified=False)
    running = goal(ada)
    Goal.objects.filter(pk=running.pk).update(status="running", ended_at=None)
    call(good, "0.10", days=40)  # begun before the period: it ended in it, so all of it counts
    call(good, "0.05", kind="step", model="small")
    call(unverified, "0.20")
    call(failed, "0.30")
    call(running, "9")
    shown = found()
    assert (shown.success.verified, shown.success.goals, shown.success.said) == (1, 3, "0.65 USD")
    assert {worth.name: (worth.said, worth.verified, worth.goals) for worth in shown.by_model} == {
        "venice/large": ("0.60 USD", 1, 3),
        "venice/small": ("0.05 USD", 1, 1),
    }
    assert {worth.name: worth.said for worth in shown.by_role} == {"planner": "0.60 USD", "executor": "0.05 USD"}


@pytest.mark.parametrize("by", BY)
def test_the_queries_are_as_many_however_much_there_is(ada: User, by: str) -> None:
    call(goal(ada), "1")
    with CaptureQueriesContext(connection) as few:
        found(by)
    for _ in range(3):
        call(goal(ada), "1", kind="step")
    with CaptureQueriesContext(connection) as many:
        found(by)
    assert len(many) == len(few) == 5


def test_the_dearest_rows_are_shown_and_it_is_said_that_there_are_others(ada: User) -> None:
    for usd in ("0.1", "0.3", "0.2"):
        call(goal(ada, usd), usd)
    shown = costs(Goal.objects.all(), last_days(30, timezone.now() + timedelta(seconds=1)), "goal", 2)
    assert ([str(row.amount) for row in shown.rows], shown.more) == (["0.30 USD", "0.20 USD"], True)
    assert str(shown.total.amount) == "0.60 USD"


def test_no_cell_of_the_csv_is_a_formula(ada: User) -> None:
    call(goal(ada), "1", model="=HYPERLINK(1)", provider="")
    _, line = csv_lines(found().rows)
    assert line[1] == "'=HYPERLINK(1)"
    assert next(csv.reader([",".join(line)]))[6] == "1.000000"


# ---- the command


def test_the_command_leads_with_a_verified_success_and_speaks_json(
    ada: User, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("costs")
    assert "no model call in this time" in capsys.readouterr().out
    call(goal(ada), "0.25")
    call(goal(ada), None)
    call_command("costs", "--by", "model")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("USD per verified success: 0.125 USD and 1 call at an unknown price (2 of 2 goals")
    call_command("costs", "--by", "team", "--days", "1", "--team", "default", "--json")
    told = json.loads(capsys.readouterr().out)
    row = told["results"][0]
    assert (row["name"], row["calls"], row["usd"], row["unpriced_calls"]) == ("default", 2, "0.250000", 1)
    assert told["verified_success"]["by_model"][0]["usd_per_verified_success"] == "0.125000"


@pytest.mark.parametrize(("words", "said"), [(("--days", "0"), "1 to 3660"), (("--team", "nowhere"), "no team")])
def test_what_it_does_not_know_is_a_sentence(ada: User, words: tuple[str, ...], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        call_command("costs", *words)

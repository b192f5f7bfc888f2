"""A team's month: goals draw allotments on it and give back what is left, and together never take more than it has."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from agents.errors import BudgetExceeded
from orchestration import allotments, hotpath, services
from orchestration.audit import Asked, audit
from orchestration.budget import allotments as amounts
from orchestration.budget import month_of
from orchestration.errors import BadInput
from orchestration.hotpath import Position, Spent
from orchestration.models import Budget, Call, Event, Goal, Membership, Run, Team, TeamEvent, TeamMonth
from orchestration.pricing import Price
from orchestration.selectors.months import month_money
from orchestration.services.access import create_token
from orchestration.states import CallKind, RunStatus
from tests.api.conftest import Api, expect_problem
from tests.lists.conftest import logged_in
from tests.support.audit import all_holds
from tests.support.rows import ended_goal, paid_call

pytestmark = pytest.mark.django_db(transaction=True)
PRICE = Price(Decimal(1), Decimal(1), Decimal(1), "own table")


@pytest.fixture
def team() -> Team:
    return services.default_team()


def claimed(**limits: Any) -> Run:
    goal = services.submit_goal("one", limits=limits)
    run = services.claim(goal.runs.get(status=RunStatus.QUEUED).pk, "ada")
    assert run is not None
    return run


def begin(run: Run, turn: int, micro: int = 100) -> int:
    return hotpath.begin_call(
        run, Position(turn, 0), CallKind.LLM, "hash", {}, tokens=micro, price=PRICE, micro_usd=micro
    )


def settle(run: Run, call: int, billed: int, reserved: int = 100) -> None:
    hotpath.settle_call(run, call, spent=Spent(billed), reserved=reserved, price=PRICE, micro_usd=reserved)


def drawn() -> int:
    return TeamMonth.objects.get().drawn_micro_usd


def allotted(run: Run) -> int | None:
    return Budget.objects.get(pk=run.goal_id).allotted_micro_usd


# ---- purely


def test_a_twentieth_of_the_limit_is_drawn_or_what_is_needed_if_that_is_more_and_at_the_end_only_that() -> None:
    assert amounts(1000, 20) == [50, 20]
    assert amounts(1000, 80) == [80]
    assert amounts(10, 1) == [1]


def test_a_month_is_one_of_the_calendar_in_utc() -> None:
    assert month_of(datetime(2026, 11, 30, 23, 59, tzinfo=UTC)) == date(2026, 11, 1)
    assert month_of(datetime.fromisoformat("2026-12-01T00:30:00+01:00")) == date(2026, 11, 1)


# ---- drawing


def test_without_a_limit_nothing_is_drawn(team: Team) -> None:
    run = claimed()
    begin(run, 1)
    assert (allotted(run), TeamMonth.objects.count()) == (None, 0)


def test_one_draw_is_enough_for_many_calls(team: Team) -> None:
    services.set_month_limit(team, "0.01", by="ada")
    run = claimed()
    settle(run, begin(run, 1), 60)
    assert (allotted(run), drawn()) == (500, 500)
    for turn in range(2, 6):
        settle(run, begin(run, turn), 60)
    assert drawn() == 500
    assert str(month_money(team)).startswith("0.0003 USD of 0.01 USD are spent in")
    begin(run, 6, micro=700)
    assert drawn() == 500 + 500, "300 are spent, 700 are needed, 200 were left"
    all_holds()


def test_at_the_limit_the_reason_names_team_month_and_command(team: Team) -> None:
    services.set_month_limit(team, "0.0002", by="ada")
    one, two = claimed(), claimed()
    begin(one, 1, micro=150)
    with pytest.raises(BudgetExceeded) as refused:
        begin(two, 1)
    assert refused.value.cap == "team_usd"
    for part in ("0.0001 USD, and 0.00005 USD of the 0.0002 USD", f"team {team}", f"{timezone.now():%Y-%m}"):
        assert part in str(refused.value)
    assert f"manage.py team limit {team} USD" in str(refused.value)
    begin(two, 1, micro=50)
    assert drawn() == 200


def test_a_goal_that_ends_or_pauses_gives_back_what_it_has_not_spent(team: Team) -> None:
    services.set_month_limit(team, "0.01", by="ada")
    one, two = claimed(), claimed()
    settle(one, begin(one, 1), 60)
    settle(two, begin(two, 1), 70)
    assert drawn() == 1000
    services.pause_goal(one.goal_id, by="ada")
    assert (allotted(one), drawn()) == (60, 560)
    services.stand_down(two, "enough")
    services.cancel_goal(two.goal_id)
    assert (allotted(two), drawn()) == (70, 130)
    services.resume_goal(one.goal_id)
    all_holds()


def test_what_was_in_flight_at_a_pause_is_given_back_by_the_housekeeper(team: Team) -> None:
    services.set_month_limit(team, "0.01", by="ada")
    run = claimed()
    call = begin(run, 1)
    services.pause_goal(run.goal_id, by="ada")
    assert drawn() == 100, "it is reserved"
    settle(run, call, 60)
    services.stand_down(run, "paused")
    assert services.sweep()["returned"] == 1
    assert (allotted(run), drawn()) == (60, 60)
    assert services.sweep()["returned"] == 0


def test_a_provider_that_bills_more_than_was_drawn_is_booked_on_the_month(team: Team) -> None:
    services.set_month_limit(team, "0.001", by="ada")
    run = claimed()
    call = begin(run, 1)
    with pytest.raises(BudgetExceeded, match="billed"):
        settle(run, call, 900)
    services.pause_goal(run.goal_id, cap="overrun", reason="look at it")
    assert (allotted(run), drawn()) == (900, 900)
    all_holds()


def test_a_new_month_pays_for_what_is_spent_in_it(team: Team) -> None:
    services.set_month_limit(team, "0.002", by="ada")
    run = claimed()
    settle(run, begin(run, 1), 60)
    begin(run, 2, micro=30)
    before = TeamMonth.objects.get()
    last = before.month - timedelta(days=1)
    TeamMonth.objects.update(month=last.replace(day=1))
    begin(run, 3, micro=1500)
    before.refresh_from_db()
    assert before.drawn_micro_usd == 60, "what was in flight is billed in the new one"
    now = TeamMonth.objects.exclude(pk=before.pk).get()
    assert now.drawn_micro_usd == 30 + 1500
    budget = Budget.objects.get(pk=run.goal_id)
    assert (budget.allotted_micro_usd, budget.allotted_before_micro_usd) == (1590, 60)
    all_holds()


def test_fifty_calls_of_five_goals_that_race_for_the_last_cent_never_exceed_it(team: Team) -> None:
    services.set_month_limit(team, "0.01", by="ada")
    runs = [claimed() for _ in range(5)]

    def pay(turn: int) -> str:
        run = runs[turn % 5]
        try:
            call = begin(run, turn, micro=700)
            if turn % 2:
                settle(run, call, 700, reserved=700)
            else:
                hotpath.lose_call(run, call, 700, "broken off", price=PRICE, micro_usd=700)
        except BudgetExceeded as refused:
            return refused.cap
        finally:
            connection.close()
        return "paid"

    with ThreadPoolExecutor(50) as pool:
        came = Counter(pool.map(pay, range(1, 51)))
    assert came == {"paid": 10_000 // 700, "team_usd": 50 - 10_000 // 700}
    assert drawn() == sum(allotted(run) or 0 for run in runs) <= 10_000
    all_holds()


# ---- the limit itself


def test_what_the_month_has_cost_already_counts_and_goals_at_work_are_taken_in(team: Team) -> None:
    paid_call(ended_goal(None), "0.002")
    paid_call(ended_goal(None), "5", days=40)
    run = claimed()
    settle(run, begin(run, 1), 60)
    begin(run, 2)
    services.set_month_limit(team, "0.01", by="ada")
    assert (allotted(run), drawn()) == (160, 2000 + 160)
    services.set_month_limit(team, "0.02", by="ada")
    assert drawn() == 2160
    services.set_month_limit(team, None, by="ada")
    assert allotted(run) is None
    services.set_month_limit(team, "0.03", by="ada")
    assert drawn() == 2160
    events = TeamEvent.objects.filter(kind="team.month_limit").order_by("pk").values_list("old", "new")
    assert list(events) == [
        ("none", "0.01 USD"),
        ("0.01 USD", "0.02 USD"),
        ("0.02 USD", "none"),
        ("none", "0.03 USD"),
    ]
    with pytest.raises(BadInput, match="amount in USD"):
        services.set_month_limit(team, "much", by="ada")


def test_a_goal_that_was_missed_is_taken_in_by_the_housekeeper(team: Team) -> None:
    run = claimed()
    Team.objects.update(month_max_micro_usd=10_000)
    assert services.sweep()["enlisted"] == 1
    assert services.sweep()["enlisted"] == 0
    assert allotted(run) == 0


@pytest.mark.parametrize("how", ["raise", "month", "none"])
def test_a_paused_goal_goes_on_when_there_is_room_for_its_next_call(team: Team, how: str) -> None:
    services.set_month_limit(team, "0.0002", by="ada")
    run = claimed()
    with pytest.raises(BudgetExceeded) as refused:
        begin(run, 1, micro=300)
    goal = services.pause_goal(run.goal_id, cap="team_usd", reason=str(refused.value))
    services.stand_down(run, "paused")
    assert "its team's month" in goal.reason
    assert services.sweep()["room_again"] == 0, "200 are left, 300 are needed"
    if how == "month":
        services.set_month_limit(team, "0.0003", by="ada")
        TeamMonth.objects.update(drawn_micro_usd=100)
        assert services.sweep()["room_again"] == 0
        TeamMonth.objects.update(month=date(2020, 1, 1))
    else:
        services.set_month_limit(team, "0.0003" if how == "raise" else None, by="ada")
    assert services.sweep()["room_again"] == 1
    assert Goal.objects.get(pk=goal.pk).status != "paused"
    assert "room again" in Event.objects.get(goal=goal, kind="goal.status", old="paused").reason


def test_goals_go_on_only_as_far_as_the_room_goes(team: Team) -> None:
    services.set_month_limit(team, "0.0005", by="ada")
    TeamMonth.objects.update(drawn_micro_usd=500)
    for _ in range(3):
        run = claimed()
        assert allotments.draw(run.goal_id, 100)
        services.pause_goal(run.goal_id, cap="team_usd", reason="used")
    TeamMonth.objects.update(drawn_micro_usd=300)
    assert services.sweep()["room_again"] == 2


def test_four_fifths_of_the_month_are_told_once_and_again_after_a_raise(team: Team) -> None:
    services.set_month_limit(team, "0.001", by="ada")
    TeamMonth.objects.update(drawn_micro_usd=799)
    assert services.sweep()["months_warned"] == 0
    TeamMonth.objects.update(drawn_micro_usd=800)
    assert [services.sweep()["months_warned"] for _ in range(2)] == [1, 0]
    event = TeamEvent.objects.get(kind="team.month_warned")
    assert (event.old, event.new, event.subject) == ("80%", "0.001 USD", f"{timezone.now():%Y-%m}")
    services.set_month_limit(team, "0.0011", by="ada")
    TeamMonth.objects.update(drawn_micro_usd=880)
    assert services.sweep()["months_warned"] == 1


def test_the_audit_finds_a_month_of_which_goals_have_more_than_was_drawn(team: Team) -> None:
    services.set_month_limit(team, "0.01", by="ada")
    run = claimed()
    begin(run, 1)
    TeamMonth.objects.update(drawn_micro_usd=99)
    found = [v for v in audit(Asked()) if not isinstance(v, Goal)]
    assert [(v.invariant, v.detail) for v in found] == [("month_drawn", "99 micro-USD are drawn, its goals have 500")]
    assert Call.objects.count() == 1


# ---- as people meet it


def test_the_command_sets_it_shows_it_and_takes_it_away(team: Team, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("team", "limit", team.name)
    assert f"no limit for the month; set one: manage.py team limit {team} USD" in capsys.readouterr().out
    call_command("team", "limit", team.name, "250")
    assert "0.00 USD of 250.00 USD are spent in" in capsys.readouterr().out
    run = claimed()
    settle(run, begin(run, 1), 60)
    call_command("team", "limit", team.name, "--json")
    shown = json.loads(capsys.readouterr().out)
    assert (shown["spent_usd"], shown["held_usd"]) == ("0.000060", "12.499940")
    assert (shown["left_usd"], shown["limit_usd"], shown["near_limit"]) == ("237.500000", "250.000000", False)
    call_command("team", "limit", team.name, "none")
    assert "no limit for the month" in capsys.readouterr().out
    with pytest.raises(CommandError, match="amount in USD"):
        call_command("team", "limit", team.name, "much")


def test_the_page_shows_what_is_left_and_an_admin_changes_the_limit(ada: User, team: Team) -> None:
    Membership.objects.update(role="admin")
    page, address = logged_in(ada), f"/teams/{team.pk}/"
    assert "No limit: its goals" in page.get(address).content.decode()
    said = page.post(f"{address}limit/", {"usd": "0.001"}, follow=True).content.decode()
    assert "The month&#x27;s limit is changed: 0.00 USD of 0.001 USD are spent" in said
    TeamMonth.objects.update(drawn_micro_usd=900)
    services.sweep()
    text = page.get(address).content.decode()
    assert "Four fifths of it are drawn" in text
    assert "<dt>Left</dt><dd>0.0001 USD</dd>" in text
    assert "team.month_limit  from none to 0.001 USD" in text
    assert "Nothing was changed: an amount in USD" in (
        page.post(f"{address}limit/", {"usd": "<b>"}, follow=True).content.decode()
    )
    page.post(f"{address}limit/", {"usd": ""})
    assert Team.objects.get(pk=team.pk).month_max_micro_usd is None
    Membership.objects.update(role="viewer")
    assert page.post(f"{address}limit/", {"usd": "1"}).status_code == 403
    assert "Limit in USD" not in page.get(address).content.decode()


def test_the_api_shows_it_and_changes_it(ada: User, team: Team) -> None:
    Membership.objects.update(role="admin")
    api, address = Api(create_token(user=ada, name="tests")[1]), f"/teams/{team.pk}/month"
    assert api.get(address).json()["limit_usd"] is None
    assert api.ask("PATCH", address, {"limit_usd": "2.5"}).json()["left_usd"] == "2.500000"
    expect_problem(api.ask("PATCH", address, {"limit_usd": "x"}), 422)
    assert api.ask("PATCH", address, {"limit_usd": None}).json()["left_usd"] is None

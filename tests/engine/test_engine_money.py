"""USD: reserved before each model call by the statement that reserves tokens, settled by what was billed; a limit pauses the goal."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from agents.errors import BudgetExceeded
from agents.llm.demo_server import Faults
from orchestration import hotpath, services
from orchestration import story as told
from orchestration.errors import BadInput, NotAllowed
from orchestration.hotpath import Position, Spent
from orchestration.models import Budget, Call, Event, Goal, Run, TeamMonth
from orchestration.pricing import MICRO, Price, price_from
from orchestration.selectors import prices
from orchestration.states import CallKind, CallStatus, RunStatus
from tests.support.audit import all_holds
from tests.support.engine import Engine
from tests.support.installation import story
from tests.support.models import writes_a_file
from tests.support.people import member

pytestmark = pytest.mark.django_db(transaction=True)
PRICE = Price(Decimal(1), Decimal("0.5"), Decimal(2), "own table")


@pytest.fixture
def priced(engine: Engine) -> Engine:
    """One token of a prompt costs 1e-6 USD, one of an answer twice as much."""
    engine.serve(writes_a_file)
    services.set_price("test-*", input_usd=1, cached_input_usd="0.5", output_usd=2, provider="127.0.0.1:*", by="ada")
    return engine


def claimed(**limits: Any) -> Run:
    goal = services.submit_goal("one", limits=limits)
    run = services.claim(goal.runs.get(status=RunStatus.QUEUED).pk, "ada")
    assert run is not None
    return run


def begin(run: Run, turn: int, tokens: int = 100, **more: Any) -> int:
    asked = {"tokens": tokens, "price": PRICE, "micro_usd": PRICE.worst(tokens, 0), **more}
    return hotpath.begin_call(run, Position(turn, 0), CallKind.LLM, "hash", {}, **asked)


def money(goal: Any) -> tuple[int, int, int]:
    """Reserved, spent, overrun."""
    return Budget.objects.values_list("reserved_micro_usd", "spent_micro_usd", "overrun_micro_usd").get(goal_id=goal)


# ---- a whole goal


def test_every_role_is_booked_at_the_price_of_its_call_and_the_goal_says_what_it_cost(
    priced: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    goal = priced.work(priced.goal(limits={"usd": "5"}))
    assert goal.status == "succeeded", story(goal)
    calls = list(Call.objects.filter(run__goal=goal, kind=CallKind.LLM).select_related("run"))
    assert {call.run.kind for call in calls} == {"plan", "step", "review"}
    for call in calls:
        price = price_from(call.price)
        assert price is not None
        assert price.output == 2
        assert call.cost is not None
        assert int(call.cost * MICRO) == price.of(call.prompt_tokens, call.completion_tokens, call.cached_tokens) > 0
    cost = sum((call.cost for call in calls if call.cost is not None), Decimal(0))
    assert money(goal.pk) == (0, int(cost * MICRO), 0)
    shown = told.cost(goal)
    assert (shown["usd"], shown["max_usd"], shown["unpriced_calls"]) == (f"{cost:.6f}", "5.000000", 0)
    call_command("goal", "show", str(goal.pk))
    said = capsys.readouterr().out
    assert f"price: {shown['price']} of 5.00 USD" in said
    call_command("goal", "handover", str(goal.pk))
    assert f"price: {shown['price']} of 5.00 USD" in capsys.readouterr().out


def test_at_the_limit_the_goal_pauses_with_its_work_and_a_raise_goes_on(
    priced: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    goal = priced.work(priced.goal(limits={"usd": "0.012"}))
    assert (goal.status, goal.paused_cap) == ("paused", "usd"), story(goal)
    assert "the next model call may cost" in goal.reason
    before = money(goal.pk)
    assert before[1] <= 12_000
    call_command("goal", "show", str(goal.pk))
    assert f"goal resume {goal.short_id} --max-usd USD" in capsys.readouterr().out
    for wrong, said in (({}, "limit of usd"), ({"usd": "0.012"}, "0.012 USD"), ({"usd": "x"}, "amount in USD")):
        with pytest.raises(BadInput, match=said):
            services.resume_goal(goal.pk, limits=wrong)
    call_command("goal", "resume", str(goal.pk), "--max-usd", "3.5")
    goal = priced.work(goal)
    assert goal.status == "succeeded", story(goal)
    assert goal.budget.max_micro_usd == 3_500_000
    assert set(goal.runs.values_list("attempt", flat=True)) == {1}, "a pause is nobody's failure"
    raised = Event.objects.get(goal=goal, kind="goal.status", old="paused")
    assert raised.data["limits"] == {"usd": "3.5"}


def test_what_calls_in_flight_may_cost_at_most_is_waited_for_and_pauses_nothing(priced: Engine) -> None:
    priced.serve(writes_a_file, Faults(delay=0.2))
    goal = priced.work(priced.goal(limits={"usd": "0.017"}))
    assert goal.status == "succeeded", story(goal)
    steps = Call.objects.filter(run__goal=goal, run__kind="step", kind=CallKind.LLM)
    assert sum(call.reserved_micro_usd or 0 for call in steps.filter(turn=1)) > 17_000, "both at once would not fit"
    assert money(goal.pk)[1] < 17_000


def test_a_provider_that_bills_more_than_was_asked_for_is_booked_shown_and_stops_the_goal(
    priced: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    def overbills(request: Any) -> dict[str, Any]:
        return {**writes_a_file(request), "usage": {"prompt_tokens": 90_000, "completion_tokens": 10_000}}

    priced.serve(overbills)
    goal = priced.work(priced.goal(limits={"usd": "5"}))
    assert (goal.status, goal.paused_cap) == ("paused", "overrun"), story(goal)
    reserved, spent, overrun = money(goal.pk)
    assert (reserved, spent) == (0, 110_000)
    assert 90_000 < overrun < 110_000
    assert "billed 0.11 USD for a call that could cost" in goal.reason
    call_command("goal", "show", str(goal.pk))
    said = capsys.readouterr().out
    assert "billed beyond what was reserved" in said
    assert f"goal resume {goal.short_id}\n" in said
    priced.serve(writes_a_file)
    services.resume_goal(goal.pk)
    goal = priced.work(goal)
    assert goal.status == "succeeded", story(goal)
    assert Call.objects.filter(run__goal=goal, run__kind="plan", turn=1).count() == 1, "its answer was kept"


# ---- an unknown price


def test_an_unknown_price_needs_a_limit_of_tokens_beside_one_in_usd(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.serve(writes_a_file)
    goal = engine.work(engine.goal(limits={"usd": "5"}))
    assert (goal.status, goal.paused_cap) == ("paused", "price"), story(goal)
    assert "price of its model" in goal.reason
    assert not goal.budget.calls
    services.resume_goal(goal.pk)
    assert engine.work(goal).paused_cap == "price", "nothing has changed about it"
    services.resume_goal(goal.pk, limits={"tokens": 100_000})
    goal = engine.work(goal)
    assert (goal.status, goal.budget.max_tokens) == ("succeeded", 100_000), story(goal)
    cost = told.cost(goal)
    assert (cost["usd"], cost["unpriced_calls"]) == (None, goal.budget.calls)
    assert set(Call.objects.filter(kind=CallKind.LLM).values_list("cost", "price")) == {(None, None)}
    call_command("goal", "show", str(goal.pk))
    assert f"price: unknown ({goal.budget.calls} calls at an unknown price) of 5.00 USD" in capsys.readouterr().out


def test_a_price_that_is_set_meanwhile_counts_when_the_goal_goes_on(engine: Engine) -> None:
    engine.serve(writes_a_file)
    goal = engine.work(engine.goal(limits={"usd": "5"}))
    services.set_price("test-model", input_usd=1, output_usd=2, by="ada")
    services.resume_goal(goal.pk)
    assert engine.work(goal).status == "succeeded", story(goal)
    assert money(goal.pk)[1] > 0


def test_room_that_comes_free_while_a_refusal_is_looked_into_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    run = claimed(usd="0.001", tokens=10_000)
    beside = begin(run, 1, micro_usd=700)
    looked = hotpath._explain_refusal

    def settled_meanwhile(*args: Any) -> None:
        monkeypatch.undo()
        hotpath.settle_call(run, beside, spent=Spent(100), reserved=100, price=PRICE, micro_usd=700)
        looked(*args)

    monkeypatch.setattr(hotpath, "_explain_refusal", settled_meanwhile)
    begin(run, 2, micro_usd=700)
    assert money(run.goal_id) == (700, 100, 0)
    with pytest.raises(BudgetExceeded, match="the next model call may cost"):
        begin(run, 3, micro_usd=700)


@pytest.mark.parametrize("given", [{"usd": "1"}, {"usd": 1, "calls": 3}])
def test_where_the_model_is_known_the_submission_says_so(settings: Any, given: dict[str, Any]) -> None:
    here = {"LLM_BASE_URL": "http://127.0.0.1:11434/v1", "LLM_MODEL": "qwen3-coder"}
    settings.LLM_ENVIRONMENT = settings.LLM_ENVIRONMENT | here
    with pytest.raises(BadInput, match=r"price of 'qwen3-coder' at 127\.0\.0\.1:11434"):
        services.submit_goal("one", limits=given)
    assert not Goal.objects.exists()
    services.submit_goal("one", limits=given | {"tokens": 1000})
    services.set_price("qwen3-*", input_usd=0, output_usd=0, by="ada")
    services.submit_goal("one", limits=given)
    with pytest.raises(BadInput, match="price of 'other'"):
        services.submit_goal("one", limits=given, rollouts=2, diversity=[{"model": "other"}])


@pytest.mark.parametrize("wrong", ["0", "-1", "x", "1e-7", True])
def test_what_is_no_amount_is_refused(wrong: Any) -> None:
    with pytest.raises(BadInput, match="amount in USD"):
        services.submit_goal("one", limits={"usd": wrong})


# ---- calls


def test_a_call_is_settled_by_what_was_billed_with_the_price_of_what_was_kept() -> None:
    run = claimed(usd="1", tokens=10_000)
    call = begin(run, 1, tokens=1000)
    assert money(run.goal_id) == (1000, 0, 0)
    spent = Spent(prompt=500, completion=10, cached=400)
    hotpath.settle_call(run, call, spent=spent, reserved=1000, price=PRICE, micro_usd=1000)
    assert money(run.goal_id) == (0, 100 + 200 + 20, 0)
    assert Call.objects.get().cost == Decimal("0.00032")


def test_what_was_lost_in_flight_counts_as_spent_and_what_was_not_billed_does_not() -> None:
    run = claimed(usd="1", tokens=10_000)
    hotpath.lose_call(run, begin(run, 1), 100, "broken off", price=PRICE, micro_usd=100)
    assert money(run.goal_id) == (0, 100, 0)
    refused = begin(run, 2)
    hotpath.settle_call(run, refused, reserved=100, price=PRICE, micro_usd=100, status=CallStatus.FAILED)
    assert money(run.goal_id) == (0, 100, 0)
    begin(run, 3)
    Run.objects.filter(pk=run.pk).update(lease_until=timezone.now() - timedelta(seconds=1), losses=4)
    services.sweep()
    assert money(run.goal_id) == (0, 200, 0)
    assert sorted(Call.objects.values_list("status", "cost")) == [
        ("failed", 0),
        ("unknown", Decimal("0.0001")),
        ("unknown", Decimal("0.0001")),
    ]
    all_holds()


def test_fifty_that_race_for_the_last_cent_never_exceed_it() -> None:
    run = claimed(usd="0.01", tokens=1_000_000)
    fit = 10_000 // 700

    def pay(turn: int) -> str:
        try:
            call = begin(run, turn, tokens=700)
            if turn % 2:
                hotpath.settle_call(run, call, spent=Spent(700), reserved=700, price=PRICE, micro_usd=700)
            else:
                hotpath.lose_call(run, call, 700, "broken off", price=PRICE, micro_usd=700)
        except BudgetExceeded as refused:
            return refused.cap
        finally:
            connection.close()
        return "paid"

    with ThreadPoolExecutor(50) as pool:
        came = Counter(pool.map(pay, range(1, 51)))
    assert came == {"paid": fit, "usd": 50 - fit}
    assert money(run.goal_id) == (0, fit * 700, 0)
    assert Call.objects.count() == fit
    all_holds()


def test_amounts_of_thousands_of_usd_are_counted_to_the_last_micro_usd() -> None:
    run = claimed(usd="99999999.999999")
    call = begin(run, 1, micro_usd=12_345_678_901_234)
    hotpath.lose_call(run, call, 100, "broken off", price=PRICE, micro_usd=12_345_678_901_234)
    assert money(run.goal_id) == (0, 12_345_678_901_234, 0)
    with pytest.raises(BudgetExceeded, match=r"and 87,654,321\.10 USD of 100,000,000\.00 USD are left"):
        begin(run, 2, micro_usd=87_654_321_098_766)
    begin(run, 3, micro_usd=87_654_321_098_765)


# ---- steps, and who may raise


def test_attempts_at_steps_are_counted_and_limited(priced: Engine) -> None:
    goal = priced.work(priced.goal("one\ntwo\nthree", limits={"steps": 2}))
    assert (goal.status, goal.paused_cap, goal.budget.steps) == ("paused", "steps", 2), story(goal)
    services.resume_goal(goal.pk, limits={"steps": 3})
    goal = priced.work(goal)
    assert (goal.status, goal.budget.steps) == ("succeeded", 3), story(goal)


def test_a_taken_over_attempt_is_not_counted_twice() -> None:
    run = claimed(steps=1)
    begin(run, 1, steps=1)
    with pytest.raises(BudgetExceeded, match="1 of 1 attempts") as refused:
        begin(run, 2, steps=1)
    assert refused.value.cap == "steps"
    begin(run, 3)


def test_where_four_eyes_are_wanted_somebody_else_raises_a_limit() -> None:
    ada = member("ada", "approver")
    goal = services.submit_goal("one", by=ada, limits={"usd": 1}, approval={"four_eyes": True})
    services.pause_goal(goal.pk, cap="usd", reason="used")
    with pytest.raises(NotAllowed, match="ada wanted this goal"):
        services.resume_goal(goal.pk, limits={"usd": 2}, by="ada", reason="more")
    with pytest.raises(NotAllowed, match="the shell has no name"):
        services.resume_goal(goal.pk, limits={"usd": 2}, by="shell", reason="more")
    with pytest.raises(BadInput, match="why you raise it"):
        services.resume_goal(goal.pk, limits={"usd": 2}, by="bob")
    services.resume_goal(goal.pk, limits={"usd": 2}, by="bob", reason="it is worth it")
    assert Budget.objects.get(goal=goal).max_micro_usd == 2_000_000
    services.pause_goal(goal.pk, reason="lunch", by="ada")
    services.resume_goal(goal.pk, by="ada")


def test_a_retry_and_the_wishes_of_a_schedule_keep_the_limits() -> None:
    goal = services.submit_goal("one", limits={"usd": "1.5", "steps": 4, "tokens": 5000})
    services.cancel_goal(goal.pk)
    budget = services.retry_goal(goal.pk).budget
    assert (budget.max_micro_usd, budget.max_steps, budget.max_tokens, budget.tokens_limited) == (
        1_500_000,
        4,
        5000,
        True,
    )
    row = services.add_schedule(name="nightly", cron="0 1 * * *", text="x", limits={"usd": Decimal("1.5"), "steps": 4})
    assert row.limits == {"usd": "1.5", "steps": 4}
    made = services.run_now(row.pk, by="ada")
    assert (made.budget.max_micro_usd, made.budget.max_steps) == (1_500_000, 4)


def test_the_price_is_asked_for_once_in_a_while_and_not_for_each_call(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        for _ in range(5):
            prices.price_of("model m at http://127.0.0.1:1/v1", "m", None)


# ---- a team's month


def test_at_the_limit_of_its_teams_month_a_goal_pauses_and_a_raise_lets_it_go_on_by_itself(priced: Engine) -> None:
    team = services.default_team()
    services.set_month_limit(team, "0.012", by="ada")
    goal = priced.work(priced.goal())
    assert (goal.status, goal.paused_cap) == ("paused", "team_usd"), story(goal)
    assert f"manage.py team limit {team} USD" in told.story(goal)["why"]
    month = TeamMonth.objects.get()
    assert month.drawn_micro_usd == goal.budget.spent_micro_usd <= 12_000
    all_holds()
    services.set_month_limit(team, "5", by="ada")
    services.sweep()
    goal = priced.work(goal)
    assert goal.status == "succeeded", story(goal)
    month.refresh_from_db()
    goal.budget.refresh_from_db()
    assert month.drawn_micro_usd == goal.budget.spent_micro_usd == goal.budget.allotted_micro_usd
    all_holds()

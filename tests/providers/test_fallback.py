"""A chain of models: whoever cannot answer is followed by the next; each call is booked at its own price; a take-over stays there."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.core.management import call_command
from django.db.models.functions import Now
from django.test import override_settings

from agents.chain import goes_on, to_be_told
from agents.errors import AgentError, Cause, Permanent, Transient
from agents.llm.demo_server import DemoServer, Faults
from agents.llm.http import Timeouts
from agents.llm.openai_compatible import OpenAICompatibleLLM
from agents.ports import CompletionRequest, Message
from orchestration import services
from orchestration.errors import BadInput
from orchestration.models import Breaker, Budget, Call, Event, Goal, Run
from orchestration.runtime import Worker
from orchestration.states import Queue, RunStatus
from tests.llm.model_server import ModelServer, Say, never, refused
from tests.support.engine import Engine
from tests.support.installation import story, until
from tests.support.models import Gated, writes_a_file

BREAKER = {"failures": 1, "first": 60, "longest": 60}


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (refused(429, "slow down"), Cause.RATE_LIMITED),
        (refused(429, "You exceeded your quota", code="insufficient_quota"), Cause.NO_CREDIT),
        (refused(402, "pay"), Cause.NO_CREDIT),
        (refused(500, "oops"), Cause.FAILING),
        (refused(408, "late"), Cause.FAILING),
        (refused(401, "who?"), Cause.REFUSED),
        (refused(404, "no such model"), Cause.REFUSED),
        (refused(413, "too large"), Cause.TOO_LONG),
        (refused(400, "This model's maximum context length is 8192 tokens"), Cause.TOO_LONG),
        (refused(400, "x", code="context_length_exceeded"), Cause.TOO_LONG),
        (refused(400, "temperature must be a number"), ""),
        (Say(body={"choices": []}), ""),
        (never, Cause.TIMED_OUT),
    ],
)
def test_why_a_model_could_not_answer(server: ModelServer, answer: Say, cause: str) -> None:
    server.says(answer)
    llm = OpenAICompatibleLLM(server.url, "m", timeouts=Timeouts(read=0.3))
    with pytest.raises(AgentError) as caught:
        llm.complete(CompletionRequest((Message("user", "hello"),)))
    assert caught.value.cause == cause
    assert goes_on(caught.value) is bool(cause)


def test_of_a_chain_in_which_none_can_answer_what_may_pass_is_told() -> None:
    gone, busy, slow = Permanent("gone"), Transient("busy"), Transient("slow")
    assert to_be_told([busy, slow]) is slow
    assert to_be_told([busy, gone]) is busy
    assert to_be_told([gone, busy]) is busy
    assert to_be_told([gone, Permanent("no credit")]).args == ("no credit",)


# ---- at work


@pytest.fixture
def engine(tmp_path: Path, transactional_db: None) -> Iterator[Engine]:
    with ExitStack() as stack, override_settings(BREAKER=BREAKER):
        made = Engine(tmp_path, stack)
        stack.callback(made.close)
        yield made


def provided(engine: Engine, name: str, status: int = 0, body: str = '{"error": {"message": "no"}}') -> DemoServer:
    server = engine.serve(writes_a_file, Faults(nth=int(status > 0), status=status, body=body))
    services.add_provider(name, team=None, base_url=server.url, by="x")
    return server


def falls(goal: Goal) -> list[tuple[str, str, str]]:
    rows = Event.objects.filter(goal=goal, kind="model.fell_back").order_by("seq")
    return [(row.data["from"], row.data["to"], row.data["cause"]) for row in rows]


def test_a_limit_in_usd_needs_the_price_of_every_model_of_the_chain(engine: Engine) -> None:
    first, _ = provided(engine, "first"), provided(engine, "second")
    services.set_price("m", input_usd=1, output_usd=1, provider=urlsplit(first.url).netloc, by="ada")
    with pytest.raises(BadInput, match="nobody knows the price of 'n' at "):
        services.submit_goal("one", role_models=["first/m,second/n"], limits={"usd": 1})
    assert services.submit_goal("one", role_models=["first/m,second/n"], limits={"usd": 1, "tokens": 50_000})
    assert services.submit_goal("one", role_models=["first/m"], limits={"usd": 1})


@pytest.mark.parametrize(("status", "cause"), [(429, "rate_limited"), (500, "failing"), (402, "no_credit")])
def test_the_next_one_goes_on_and_the_story_says_why_and_each_pays_its_own_price(
    engine: Engine, status: int, cause: str
) -> None:
    first, second = provided(engine, "first", status), provided(engine, "second")
    services.set_price("m", input_usd=1000, output_usd=1000, provider=urlsplit(first.url).netloc, by="ada")
    services.set_price("n", input_usd=1, output_usd=1, provider=urlsplit(second.url).netloc, by="ada")
    goal = engine.work(engine.goal("one", role_models=["first/m,second/n"], limits={"usd": 1000}))
    assert goal.status == "succeeded", story(goal)
    assert falls(goal)[0] == ("first/m", "second/n", cause)
    done = Call.objects.filter(run__goal=goal, kind="llm", status="done")
    assert set(done.values_list("provider", "request__model", "request__link")) == {("second", "n", 1)}
    assert set(goal.runs.values_list("attempt", "losses")) == {(1, 0)}, "nobody's failure"
    spent = sum(call.prompt_tokens + call.completion_tokens for call in done)
    budget = Budget.objects.get(goal=goal)
    assert (budget.spent_micro_usd, budget.reserved_micro_usd, budget.calls) == (
        spent, 0, Call.objects.filter(run__goal=goal, kind="llm").count(),
    )  # fmt: skip
    out = io.StringIO()
    call_command("goal", "show", str(goal.pk), stdout=out)
    assert "second/n is asked: " in out.getvalue()
    if cause != "no_credit":
        assert len(first.calls) <= 3, "the first try; then it is known to be away"
        assert {why for _, _, why in falls(goal)[1:]} == {"away"}
    assert len(second.calls) == done.count()


def test_the_first_choice_is_tried_again_when_it_is_due_and_stays_then(engine: Engine) -> None:
    first = provided(engine, "first", 500)
    provided(engine, "second")
    goal = engine.goal("one", role_models=["first/m,second/n"])
    engine.work(goal, until=lambda: Run.objects.filter(goal=goal, kind="plan", status="succeeded").exists())
    first.faults.nth = 0
    Breaker.objects.update(probe_at=Now())
    goal = engine.work(goal)
    assert goal.status == "succeeded", story(goal)
    assert Breaker.objects.get().status == "closed"
    asked = Call.objects.filter(run__goal=goal, status="done", kind="llm").order_by("pk")
    assert asked.first().provider == "second"  # type: ignore[union-attr]
    assert asked.last().provider == "first"  # type: ignore[union-attr]


def test_where_none_can_answer_the_run_waits_and_nothing_is_counted(engine: Engine) -> None:
    first, second = provided(engine, "first", 402), provided(engine, "second", 503)
    goal = engine.goal("one", role_models=["first/m,second/n"])
    engine.work(goal, until=lambda: Breaker.objects.filter(status="open").exists())
    assert until(lambda: goal.runs.get().status == RunStatus.QUEUED, 10)
    assert (goal.runs.get().attempt, goal.runs.get().losses) == (1, 0)
    first.faults.nth = second.faults.nth = 0
    assert engine.work(goal).status == "succeeded"


def test_where_none_can_ever_answer_the_last_one_s_words_end_the_goal(engine: Engine) -> None:
    provided(engine, "first", 401)
    provided(engine, "second", 402)
    goal = engine.work(engine.goal("one", role_models=["first/m,second/n"]))
    assert goal.status == "failed"
    assert "no credit left" in goal.reason


def test_a_take_over_goes_on_with_the_one_that_answered_last(engine: Engine) -> None:
    first = provided(engine, "first", 402)
    gate = Gated("executor", answerer=writes_a_file, after=2)
    server = engine.serve(gate)
    services.add_provider("second", team=None, base_url=server.url, by="x")
    goal = engine.goal("one", role_models=["first/m,second/n"])
    assert until(lambda: engine.worker.claim_idle() >= 0 and gate.reached.is_set(), 20)
    asked, dead = len(first.calls), engine.worker
    Run.objects.filter(goal=goal, status=RunStatus.RUNNING).update(lease_until=Now() - timedelta(seconds=1))
    services.sweep()
    engine.worker = Worker(Queue.values, 4)
    engine.worker._tools = dead._tools
    gate.open()
    goal = engine.work(goal)
    assert goal.status == "succeeded", story(goal)
    run = goal.runs.get(kind="step")
    assert run.fence > 1
    assert Event.objects.filter(goal=goal, kind="journal.diverged").count() == 0
    steps = Call.objects.filter(run=run, kind="llm", status="failed")
    assert steps.count() == 1, "the first choice was asked once, by the worker that died"
    assert len(first.calls) == asked + Call.objects.filter(run__kind="review", status="failed").count()
    dead._own.shutdown(wait=True)

"""A step asks a person: no worker is held, only what depends on it waits, and the answer is in its next brief."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.utils import timezone

from orchestration import services
from orchestration.errors import BadInput, IllegalMove
from orchestration.models import Event, Goal, Question, Run, Step
from tests.support.engine import Engine
from tests.support.installation import story, until
from tests.support.models import Answer, Request, brief_in, call, role, say, step, verdict, writes_a_file

pytestmark = pytest.mark.long


class Asks:
    """Step 0 asks; 1 depends on it, 2 on nobody."""

    def __init__(self, **question: Any) -> None:
        self.question = {"question": "red or green?", "choices": ["red", "green"]} | question
        self.briefs: list[dict[str, Any]] = []

    def __call__(self, request: Request) -> Answer:
        brief = brief_in(request["messages"])
        if role(request) == "planner":
            return say({"steps": [step(0, "zero"), step(1, "one", dependencies=[0]), step(2, "two")]})
        if role(request) == "executor" and brief["step"]["index"] == 0:
            self.briefs.append(brief)
            if not brief.get("answers"):
                return call("ask", **self.question)
        return (
            verdict("stop", request) if role(request) == "reviewer" and brief.get("problem") else writes_a_file(request)
        )


def waits(goal: Goal) -> bool:
    alone = not Run.objects.filter(goal=goal, status__in=("queued", "running")).exists()
    return alone and Question.objects.filter(goal=goal, status="waiting").exists()


def asking(engine: Engine, answerer: Callable[[Request], Answer] | None = None) -> tuple[Goal, Question]:
    engine.serve(answerer or Asks())
    goal = engine.goal("colour it")
    goal = engine.work(goal, until=partial(waits, goal))
    assert until(lambda: not engine.worker.active.busy, 20), "no worker is held"
    return goal, Question.objects.get(goal=goal, status="waiting")


def statuses(goal: Goal) -> list[str]:
    return list(Step.objects.filter(rollout__goal=goal).order_by("index").values_list("status", flat=True))


def test_only_what_depends_on_it_waits_and_the_answer_is_in_the_next_brief(engine: Engine) -> None:
    model = Asks()
    goal, question = asking(engine, model)
    assert statuses(goal) == ["asking", "pending", "succeeded"]
    services.sweep()
    assert (statuses(goal), Goal.objects.get(pk=goal.pk).status) == (["asking", "pending", "succeeded"], "running")
    with pytest.raises(BadInput, match="one of: red, green"):
        services.answer_question(question.pk, "blue", by="ada")
    assert services.answer_question(question.pk, "green", by="ada").first
    goal = engine.work(goal)
    assert goal.status == "succeeded", story(goal)
    assert model.briefs[-1]["answers"] == [{"question": "red or green?", "answer": "green", "by": "ada"}]
    assert list(Run.objects.filter(goal=goal, step__index=0).values_list("status", "attempt")) == [
        ("asked", 1),
        ("succeeded", 1),
    ]
    again = services.answer_question(question.pk, "red", by="bob")
    assert (again.first, again.question.answer, "that stands" in again.said) == (False, "green", True)
    told = Event.objects.get(goal=goal, kind="question.status")
    assert (told.by, told.new, told.reason) == ("ada", "answered", "green")


def expired(question: Question) -> None:
    Question.objects.filter(pk=question.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert services.sweep()["questions"] == 1
    assert services.sweep()["questions"] == 0


def test_the_goal_s_hours_do_not_count_while_only_an_answer_is_waited_for(engine: Engine) -> None:
    goal, question = asking(engine)
    late, ago = timezone.now() - timedelta(hours=1), timezone.now() - timedelta(hours=3)
    Question.objects.update(created_at=ago)
    Run.objects.filter(goal=goal).update(ended_at=ago)
    Goal.objects.filter(pk=goal.pk).update(deadline_at=late)
    assert services.sweep()["goals_paused"] == 0
    services.answer_question(question.pk, "green", by="ada")
    goal.refresh_from_db()
    assert goal.deadline_at is not None
    assert timedelta(minutes=119) < goal.deadline_at - timezone.now() < timedelta(minutes=121)
    assert engine.work(goal).status == "succeeded", story(goal)


def test_nobody_answers_in_time_and_the_default_is_the_answer(engine: Engine) -> None:
    model = Asks(default="red", hours=1)
    goal, question = asking(engine, model)
    assert question.expires_at is not None
    assert question.expires_at < timezone.now() + timedelta(minutes=61)
    expired(question)
    assert engine.work(goal).status == "succeeded"
    assert model.briefs[-1]["answers"] == [{"question": "red or green?", "answer": "red", "by": "default"}]


def test_nobody_answers_in_time_and_without_a_default_the_step_has_failed(engine: Engine) -> None:
    goal, question = asking(engine)
    expired(question)
    goal = engine.work(goal)
    assert (goal.status, statuses(goal)[0]) == ("failed", "failed")
    assert "nobody answered its question in time" in Step.objects.get(rollout__goal=goal, index=0).reason


def test_cancelling_withdraws_the_question(engine: Engine) -> None:
    goal, question = asking(engine)
    services.cancel_goal(goal.pk)
    question.refresh_from_db()
    assert question.status == "withdrawn"
    assert engine.work(goal).status == "cancelled"
    with pytest.raises(IllegalMove, match="nobody needs"):
        services.answer_question(question.pk, "red", by="ada")


def test_another_step_fails_and_the_new_revision_asks_anew(engine: Engine) -> None:
    failed: list[int] = []

    class OtherFails(Asks):
        def __call__(self, request: Request) -> Answer:
            brief = brief_in(request["messages"])
            if role(request) == "executor" and brief["step"]["index"] == 2 and len(failed) < 3:
                failed.append(1)
                return call("finish", success=False, summary="no")
            if role(request) == "reviewer" and brief.get("problem"):
                return verdict("retry_same", request, steps=[2])
            return super().__call__(request)

    engine.serve(OtherFails())
    goal = engine.goal("colour it")
    goal = engine.work(goal, until=lambda: Question.objects.filter(goal=goal).count() == 2 and waits(goal))
    assert list(Question.objects.filter(goal=goal).order_by("created_at").values_list("status", flat=True)) == [
        "withdrawn",
        "waiting",
    ]
    services.answer_question(services.question_of(goal).pk, "red", by="ada")
    assert engine.work(goal).status == "succeeded"


def test_one_that_asks_on_and_on_has_failed(engine: Engine) -> None:
    class Never(Asks):
        def __call__(self, request: Request) -> Answer:
            brief = brief_in(request["messages"])
            if role(request) == "executor" and brief["step"]["index"] == 0:
                return call("ask", question="and now?")
            return super().__call__(request)

    engine.serve(Never())
    goal = engine.goal("colour it")
    for _ in range(5):
        goal = engine.work(goal, until=partial(waits, goal))
        services.answer_question(services.question_of(goal).pk, "go on", by="ada")
    goal = engine.work(goal)
    assert (goal.status, Question.objects.filter(goal=goal).count()) == ("failed", 5)

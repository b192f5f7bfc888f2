"""A person's message reaches the next model call of its role, whoever works, and a take-over tells it at the same place."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection

from orchestration import services
from orchestration.errors import BadInput, IllegalMove
from orchestration.models import Call, Event, Goal
from tests.support.engine import Engine
from tests.support.installation import story, until
from tests.support.models import Answer, Gated, Request, role, turn, writes_a_file

pytestmark = pytest.mark.long


class Records:
    """What was said to the model, call by call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, list[str]]] = []

    def __call__(self, request: Request) -> Answer:
        messages = request["messages"]
        mail = [f"{n}:{m['content']}" for n, m in enumerate(messages) if "who may steer this work" in str(m["content"])]
        self.calls.append((role(request), turn(request), mail))
        return writes_a_file(request)

    def of(self, who: str) -> list[tuple[int, list[str]]]:
        return [(at, mail) for name, at, mail in self.calls if name == who]


def held(engine: Engine, after: int = 1) -> tuple[Goal, Gated, Records]:
    """One step, whose executor is in its call number `after` (counted from 0)."""
    model = Records()
    gate = Gated("executor", answerer=model, after=after)
    engine.serve(gate)
    goal = engine.goal("one\ntwo")
    engine.worker.active.slots = 1
    assert until(lambda: engine.worker.claim_idle() >= 0 and gate.reached.is_set(), 20)
    return goal, gate, model


def test_the_next_call_of_the_role_has_it_at_a_place_that_stays_and_later_runs_too(engine: Engine) -> None:
    goal, gate, model = held(engine)
    services.send_message(goal.pk, "be brief", to="executor", by="ada")
    services.send_message(goal.pk, "be strict", to="reviewer", by="ada")
    gate.open()
    goal = engine.work(goal)
    assert goal.status == "succeeded", story(goal)
    first, second = model.of("executor")[:3], model.of("executor")[3:]
    said = "A message from ada, who may steer this work:\n\nbe brief"
    assert first == [(0, []), (1, []), (2, [f"6:{said}"])], (
        "the call in flight was made without it, the next one has it"
    )
    assert second == [(0, [f"2:{said}"]), (1, [f"2:{said}"]), (2, [f"2:{said}"])], "it stays where it was told"
    assert [mail[0].endswith("be strict") for _, mail in model.of("reviewer")] == [True]
    assert model.of("planner")[0][1] == []
    sent = Event.objects.get(goal=goal, kind="message.sent", subject="to the executor")
    assert (sent.by, sent.reason) == ("ada", "be brief")
    assert Event.objects.filter(goal=goal, kind="message.told").count() == 3


def test_a_take_over_tells_the_same_at_the_same_call(engine: Engine) -> None:
    """The message was told at turn 1; the run is given back in turn 2, and goes on without asking anything twice."""
    model = Records()
    third = Gated("executor", answerer=model, after=2)
    second = Gated("executor", answerer=third, after=1)
    engine.serve(second)
    goal = engine.goal("one")
    assert until(lambda: engine.worker.claim_idle() >= 0 and second.reached.is_set(), 20)
    services.send_message(goal.pk, "be brief", by="ada")
    second.open()
    assert until(third.reached.is_set, 20)
    services.pause_goal(goal.pk, by="ada", reason="lunch")
    engine.worker._heartbeat()
    assert until(lambda: not engine.worker.active.busy, 20)
    services.send_message(goal.pk, "and kind", by="ada")
    services.resume_goal(goal.pk)
    threading.Timer(0.5, third.open).start()
    goal = engine.work(goal)
    assert goal.status == "succeeded", story(goal)
    assert not Event.objects.filter(goal=goal, kind="journal.diverged").exists(), "the record fits"
    done = Call.objects.filter(run__goal=goal, run__kind="step", kind="llm", status="done")
    assert sorted(done.values_list("turn", flat=True)) == [1, 2, 3]
    said = [[words.rsplit("\n", 1)[-1] for words in mail] for at, mail in model.of("executor") if at == 2]
    assert sorted(said) == [["be brief"], ["be brief", "and kind"]], (
        "the call that was broken off, and the one after it"
    )


def test_what_cannot_be_sent(engine: Engine) -> None:
    engine.serve(writes_a_file)
    goal = engine.goal("one")
    for text, to in ((" ", "executor"), ("x" * 4001, "executor"), ("x", "boss"), ("\x00", "planner")):
        with pytest.raises(BadInput):
            services.send_message(goal.pk, text, to=to)
    services.cancel_goal(goal.pk)
    with pytest.raises(IllegalMove, match="follow it up"):
        services.send_message(goal.pk, "x")


def test_messages_from_many_at_once_are_numbered_without_gaps(engine: Engine) -> None:
    engine.serve(writes_a_file)
    goal = engine.goal("one")

    def send(n: int) -> Any:
        services.send_message(goal.pk, f"m{n}", by="ada")
        connection.close()

    threads = [threading.Thread(target=send, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(goal.messages.values_list("number", flat=True)) == [1, 2, 3, 4, 5, 6]
    assert Goal.objects.get(pk=goal.pk).budget.messages == 6
    services.cancel_goal(goal.pk)

"""What a worker that is told to stop does not do: claim anything more, or wait for a thread that cannot be stopped."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from orchestration.models import Event
from tests.support.engine import Engine
from tests.support.installation import until
from tests.support.models import Gated, call, role, writes_a_file


def gives_up(request: Any) -> Any:
    """Two steps, and each says no at once."""
    if role(request) == "planner":
        return writes_a_file(request)
    return call("finish", success=False, summary="it cannot be done", evidence=[])


def test_a_run_that_ends_during_the_drain_takes_no_other_with_it(engine: Engine) -> None:
    """Its record would claim the next run of the goal in the same transaction."""
    engine.worker.active.slots = 1
    gate = Gated("executor", answerer=gives_up)
    engine.serve(gate)
    goal = engine.goal("one\ntwo")
    assert until(lambda: engine.worker.claim_idle() >= 0 and gate.reached.is_set(), 20)
    assert goal.runs.filter(kind="step", status="queued").count() == 1
    engine.worker.active.drain(now=False)
    gate.open()
    assert until(lambda: not engine.worker.active.busy, 20)
    begun = Event.objects.filter(goal=goal, kind="run.status", new="running", data__has_key="step")
    assert begun.count() == 1
    assert set(goal.runs.filter(kind="step").values_list("losses", flat=True)) == {0}


def test_a_thread_that_cannot_be_stopped_is_left_behind_and_its_run_is_not(
    engine: Engine, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.DRAIN_SECONDS = 0.4
    engine.serve(writes_a_file)
    stuck, go_on = threading.Event(), threading.Event()
    provider = engine.worker.tools.provider

    class Stuck:
        name, layers, scratch, dependency = provider.name, provider.layers, provider.scratch, ""

        def open(self, spec: Any) -> Any:
            stuck.set()
            go_on.wait(30)
            return provider.open(spec)

    engine.use(Stuck())  # type: ignore[arg-type]
    goal = engine.goal("one")
    engine.worker.claim_idle()
    assert stuck.wait(20)
    begun = time.monotonic()
    engine.worker.drain()
    assert time.monotonic() - begun < 5
    assert set(goal.runs.values_list("status", "losses", "attempt", "worker")) == {("queued", 0, 1, "")}
    go_on.set()
    assert until(lambda: not engine.worker.active.busy, 20)
    assert set(goal.runs.values_list("status", "losses", "attempt")) == {("queued", 0, 1)}, (
        "the late thread is a stranger"
    )

"""A run whose worker was lost goes on elsewhere from its record, and says where, when, why and what was replayed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse

from agents.errors import Fenced
from orchestration import services
from orchestration.models import Call, Event, Goal, Run
from orchestration.runtime import Worker
from orchestration.selectors.take_overs import take_overs_of
from orchestration.services.journaling import note_take_over
from orchestration.states import CallStatus, Queue, RunStatus
from orchestration.story import story as told
from tests.support.engine import Engine
from tests.support.installation import story, until
from tests.support.models import Gated, writes_a_file
from tests.support.people import member


@pytest.fixture
def lost(engine: Engine) -> Iterator[tuple[Goal, Gated, str]]:
    """A step in its third model call, whose worker is dead as far as anybody knows; and that worker's name."""
    gate = Gated("executor", answerer=writes_a_file, after=2)
    engine.serve(gate)
    goal = engine.goal("one", by=member("ada"))
    assert until(lambda: engine.worker.claim_idle() >= 0 and gate.reached.is_set(), 20)
    dead = engine.worker
    Run.objects.filter(goal=goal, status=RunStatus.RUNNING).update(lease_until=Now() - timedelta(seconds=1))
    services.sweep()
    engine.worker = Worker(Queue.values, 4)
    engine.worker._tools = dead._tools
    yield goal, gate, dead.name
    gate.open()
    dead._own.shutdown(wait=True)


def test_its_record_is_replayed_only_the_call_in_flight_is_made_again_and_all_of_it_is_told(
    engine: Engine, lost: tuple[Goal, Gated, str]
) -> None:
    goal, gate, dead = lost
    run = goal.runs.get(kind="step")
    assert take_overs_of(run) == []
    assert until(lambda: engine.worker.claim_idle() >= 0 and Event.objects.filter(kind="run.taken_over").exists(), 20)
    gate.open()
    goal = engine.work(goal)
    assert goal.status == "succeeded", story(goal)
    run.refresh_from_db()
    [over] = take_overs_of(run)
    assert (over.from_worker, over.to_worker, over.reason) == (dead, engine.worker.name, f"worker {dead} was lost")
    assert (over.answers, over.commands, over.files, over.repeated) == (2, 1, 1, 1)
    last = Call.objects.filter(run=run, status=CallStatus.DONE, turn=2).exclude(checkpoint="").latest("pk")
    assert over.checkpoint == last.checkpoint
    assert engine.model is not None
    asked = Counter(entry["prompt"] for entry in engine.model.calls)
    assert sorted(asked.values())[-2:] == [1, 2], "one call was made twice, the one in flight"

    said = f"Step 0 goes on at {engine.worker.name}, from {dead} (worker {dead} was lost): "
    what = "2 model answers, 1 command, 1 file access replayed from its record"
    shown = StringIO()
    call_command("goal", "show", goal.short_id, stdout=shown)
    assert said in shown.getvalue()
    assert what in shown.getvalue()
    assert told(goal)["rollouts"][0]["runs"][1]["take_overs"][0]["answers"] == 2
    client = Client()
    client.force_login(User.objects.get(username="ada"))
    page = client.get(reverse("orchestration:step-detail", args=[goal.pk, 1, 1, 0])).content.decode()
    assert "2 model answers, 1 command, 1 file access" in page
    assert over.checkpoint[:10] in page
    assert "1 call in flight; the lost one is unknown" in page
    events = client.get(reverse("orchestration:goal-events", args=[goal.pk])).content.decode()
    assert said in events
    api = client.get(f"/api/v1/runs/{run.pk}").json()
    assert [(one["from_worker"], one["repeated"]) for one in api["take_overs"]] == [(dead, 1)]


def test_a_first_claim_is_no_take_over(engine: Engine) -> None:
    engine.serve(writes_a_file)
    goal = engine.work(engine.goal("one"))
    assert not Event.objects.filter(goal=goal, kind="run.taken_over").exists()


def test_a_run_that_was_given_back_says_why_it_went_on_elsewhere(engine: Engine) -> None:
    gate = Gated("executor", answerer=writes_a_file, after=1)
    engine.serve(gate)
    goal = engine.goal("one")
    assert until(lambda: engine.worker.claim_idle() >= 0 and gate.reached.is_set(), 20)
    first = engine.worker
    first.active.drain(now=True)
    assert until(lambda: not first.active.busy, 20)
    gate.open()
    engine.worker = Worker(Queue.values, 4)
    engine.worker._tools = first._tools
    goal = engine.work(goal)
    assert goal.status == "succeeded"
    [over] = take_overs_of(goal.runs.get(kind="step"))
    assert (over.from_worker, over.reason, over.answers, over.repeated) == (first.name, "the worker is stopping", 1, 1)


def test_who_was_fenced_off_meanwhile_tells_nothing(engine: Engine, lost: tuple[Goal, Gated, str]) -> None:
    goal, gate, _ = lost
    run = goal.runs.get(kind="step")
    stale = services.claim(run.pk, "b:2:bbb")
    assert stale is not None
    Run.objects.filter(pk=run.pk).update(lease_until=Now() - timedelta(seconds=1))
    services.sweep()
    with pytest.raises(Fenced):
        note_take_over(stale, [], "")
    assert not Event.objects.filter(goal=goal, kind="run.taken_over").exists()
    gate.open()

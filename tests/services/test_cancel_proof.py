"""P7 with real workers and the lease of a real installation: all is confirmed to be over within ten seconds, or it can be forced."""

from __future__ import annotations

import signal
import time
from datetime import timedelta

import pytest
from django.db.models import F
from django.utils import timezone

from orchestration import services
from orchestration.models import Budget, Call, Event, Goal, Run
from orchestration.selectors.cancelling import cancel_proof
from tests.support.installation import Installation, until
from tests.support.models import Gated, writes_a_file

pytestmark = pytest.mark.long


def at_work(installation: Installation, text: str, **env: str) -> tuple[Goal, Gated]:
    gate = Gated("executor", answerer=writes_a_file, after=1)
    installation.model = installation.serve_model(gate)
    goal = services.submit_goal(text)
    installation.worker(LLM_BASE_URL=installation.model.url, **env)
    assert gate.reached.wait(60), installation.logs()
    return goal, gate


def boxes(installation: Installation) -> list[object]:
    return list((installation.folder / "workspaces").glob("box-*/workspace"))


@pytest.mark.parametrize("lease", ["30"])
def test_within_ten_seconds_each_thing_has_its_time(installation: Installation, lease: str) -> None:
    goal, gate = at_work(installation, "one\ntwo\nthree", LEASE_SECONDS=lease)
    assert until(lambda: Call.objects.filter(status="intent", turn=2).count() == 3), installation.logs()
    assert boxes(installation)
    asked = services.cancel_goal(goal.pk, reason="enough").cancelled_at
    assert asked is not None
    assert installation.ended(goal, 10).status == "cancelled"
    assert not boxes(installation)
    proof = cancel_proof(goal)
    assert {one.what for one in proof} == {"model request", "sandbox", "reservations"}
    assert len(proof) == 7
    assert all(one.confirmed_at and asked <= one.confirmed_at <= asked + timedelta(seconds=10) for one in proof), proof
    gate.open()


def test_a_frozen_worker_can_be_forced_off_and_is_refused_when_it_wakes(installation: Installation) -> None:
    goal, gate = at_work(installation, "one", LEASE_SECONDS="60")
    process = installation.workers[0].process
    process.send_signal(signal.SIGSTOP)
    services.cancel_goal(goal.pk)
    assert Goal.objects.get(pk=goal.pk).status == "cancelling"
    Call.objects.filter(run__goal=goal).update(started_at=F("started_at") - timedelta(seconds=11))
    Goal.objects.filter(pk=goal.pk).update(cancelled_at=timezone.now() - timedelta(seconds=11))
    services.cancel_goal(goal.pk, force=True, reason="its machine sleeps")
    goal.refresh_from_db()
    assert goal.status == "cancelled"
    assert [one.what for one in cancel_proof(goal) if one.confirmed_at is None] == ["model request", "sandbox"]
    events, budget = Event.objects.filter(goal=goal).count(), Budget.objects.get(goal=goal)
    assert budget.reserved_tokens == 0
    process.send_signal(signal.SIGCONT)
    gate.open()
    assert until(lambda: not boxes(installation), 30), installation.logs()
    time.sleep(1)
    assert Event.objects.filter(goal=goal).count() == events
    assert Budget.objects.get(goal=goal).spent_tokens == budget.spent_tokens
    assert not Run.objects.filter(goal=goal, status__in=("queued", "running")).exists()

"""Real workers whose commands run in microVMs of a service: the main job by the environment alone, and a worker that is killed."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from orchestration.models import Goal
from tests.support.installation import EXAMPLE_CHECK, EXAMPLE_GOAL, Installation, until
from tests.support.locale2b_server import GUEST_USER, Locale2bServer
from tests.support.models import Gated

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(GUEST_USER == 0, reason="an ordinary user's stand-in for a VM has no second user"),
]


@pytest.fixture
def service(installation: Installation) -> Iterator[Locale2bServer]:
    """The installation's workers find it in their environment."""
    server = Locale2bServer(key="k3y")
    key = installation.folder / "key"
    key.write_text("k3y\n")
    installation.env |= {
        "LOCALE2B_BASE_URL": server.url,
        "LOCALE2B_API_KEY_FILE": str(key),
        "LOCALE2B_REQUESTS_PER_MINUTE": "100000",
    }
    yield server
    server.stop()


def submit(installation: Installation) -> Goal:
    repo = installation.example()
    done = installation.manage("goal", "submit", EXAMPLE_GOAL, "--repo", str(repo), "--check", EXAMPLE_CHECK, "--json")
    return Goal.objects.get(pk=json.loads(done.stdout)["id"])


def test_the_main_job_in_vms(installation: Installation, service: Locale2bServer) -> None:
    installation.worker()
    goal = installation.ended(submit(installation), 100)
    assert (goal.status, goal.verified) == ("succeeded", True), installation.logs()
    assert goal.selected.branch
    assert len(service.calls("create")) >= 4
    assert until(lambda: service.machines == {}, 10)
    assert all(asked.headers["x-api-key"] == "k3y" for asked in service.asked)


def test_the_vms_of_a_killed_worker_are_removed_and_its_goal_ends(
    installation: Installation, service: Locale2bServer
) -> None:
    gate = Gated("executor", after=2)
    installation.model = installation.serve_model(gate)
    installation.env["LLM_BASE_URL"] = installation.model.url
    goal = submit(installation)
    first = installation.worker()
    assert gate.reached.wait(60), installation.logs()
    first.kill()
    left = set(service.machines)
    assert left
    gate.open()
    installation.worker()
    goal = installation.ended(goal, 100)
    assert (goal.status, goal.verified) == ("succeeded", True), installation.logs()
    assert until(lambda: not left & set(service.machines), 10), "the next worker of this host found what had no owner"
    assert {run.attempt for run in goal.runs.all()} == {1}

"""A whole goal in microVMs: the workspace goes in, checkpoints and the result come out; and what happens when a VM does not stay."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from agents.llm.demo_model import answer
from orchestration import services
from orchestration.models import Artifact, Call, Run
from tests.support.engine import Engine
from tests.support.installation import EXAMPLE_CHECK, EXAMPLE_GOAL, story, until
from tests.support.locale2b_server import Locale2bServer, Say, provider_for
from tests.support.models import Request, call, role, say, step, turn, verdict, writes_a_file


@pytest.fixture
def service() -> Iterator[Locale2bServer]:
    server = Locale2bServer()
    yield server
    server.stop()


@pytest.fixture
def remote(engine: Engine, service: Locale2bServer) -> Engine:
    """An engine whose sandboxes are VMs of that service."""
    engine.use(provider_for(service, folder=engine.folder))
    return engine


def test_the_example_is_solved_in_vms_and_its_branch_delivered(remote: Engine, service: Locale2bServer) -> None:
    remote.serve(answer)
    repo = remote.example()
    goal = remote.work(remote.goal(EXAMPLE_GOAL, repo=repo, checks=[EXAMPLE_CHECK]))
    assert (goal.status, goal.verified) == ("succeeded", True), story(goal)
    branch = subprocess.run(
        ["git", "diff", "--stat", "main", goal.selected.branch], cwd=repo, check=True, capture_output=True, text=True
    )
    assert "2 files changed" in branch.stdout
    assert Artifact.objects.filter(kind="checkpoint").exists()
    assert service.machines == {}, "each VM is gone with its run"
    assert len(service.calls("create")) >= 4, "the source, the base, each step and the review had one of their own"


class Works:
    """Writes `a.txt` by a command, then runs `then` before its second command, in the midst of the step."""

    def __init__(self, then: Any) -> None:
        self._then = then
        self.done = False

    def __call__(self, request: Request) -> dict[str, Any]:
        if role(request) == "planner":
            return say({"steps": [step(0, "write both")]})
        if role(request) == "reviewer":
            return verdict("complete", request)
        script = [
            call("run_command", command="echo a > a.txt"),
            call("run_command", command="cat a.txt > b.txt && cat b.txt"),
            call("finish", success=True, summary="both are there", evidence=[]),
        ]
        if turn(request) == 1 and not self.done:
            self.done = True
            self._then()
        return script[min(turn(request), 2)]


@pytest.mark.parametrize(
    "harm", ["kill_vm", "forget"], ids=["it is dead, and 500 for ever", "it is not known any more: 404"]
)
def test_a_vm_lost_in_the_midst_of_a_step_costs_one_loss_and_nothing_is_bought_twice(
    remote: Engine, service: Locale2bServer, harm: str
) -> None:
    remote.serve(Works(getattr(service, harm)))
    goal = remote.work(remote.goal("one", checks=["test -s b.txt"]))
    assert (goal.status, goal.verified) == ("succeeded", True), story(goal)
    run = Run.objects.get(kind="step")
    assert (run.attempt, run.losses) == (1, 1)
    assert len(remote.model.calls) == 5, "a plan, three turns, a review"
    commands = Call.objects.filter(run=run, kind="command", status="done").order_by("turn")
    assert [command.exit_code for command in commands] == [0, 0]
    assert service.machines == {}


@pytest.mark.services
def test_a_service_that_forgets_what_it_ran_is_used_again(
    remote: Engine, service: Locale2bServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its restart our VM is "stopped"; it is looked at before it is talked to, and removed."""
    monkeypatch.setattr("agents.sandbox.locale2b.sandbox.QUIET", 0.0)
    service.half_a_minute = 30
    remote.serve(Works(service.restart))
    goal = remote.work(remote.goal("one", checks=["test -s b.txt"]))
    assert (goal.status, goal.verified) == ("succeeded", True), story(goal)
    assert Run.objects.get(kind="step").losses == 1
    assert service.machines == {}


@pytest.mark.services
@pytest.mark.parametrize(
    ("says", "told"),
    [
        (Say(503, {"detail": "Maximum sandbox limit reached (20)"}), "Maximum sandbox limit"),
        (Say(503, {"detail": "Insufficient memory: requested 1024 MB, available 12 MB"}), "Insufficient memory"),
        (Say(429, {"detail": "Rate limit exceeded"}, {"Retry-After": "0"}), "slow down"),
        (Say(502, "<html>Bad gateway</html>"), "HTTP 502"),
    ],
    ids=["no room", "no memory", "rate limit", "bad gateway"],
)
def test_a_service_without_room_lets_the_run_wait_and_burns_no_attempt(
    remote: Engine, service: Locale2bServer, says: Say, told: str
) -> None:
    remote.serve(writes_a_file)
    service.once("create", says, says)
    goal = remote.work(remote.goal("one"))
    assert goal.status == "succeeded", story(goal)
    assert set(Run.objects.values_list("attempt", "losses", "error")) == {(1, 0, "")}
    waited = [
        event.reason
        for event in goal.events.filter(kind="run.status", new="queued")
        if "waiting for a sandbox" in event.reason
    ]
    assert len(waited) == 2
    assert all(told in reason for reason in waited)


@pytest.mark.services
@pytest.mark.long
def test_a_service_that_is_away_is_waited_for(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.sandbox.locale2b.ledger.REST", 1.0)
    away = Locale2bServer()
    port = away.server_port
    engine.use(provider_for(away, folder=engine.folder))
    away.stop()
    engine.serve(writes_a_file)
    goal = engine.goal("one")
    engine.worker.claim_idle()
    assert until(lambda: goal.events.filter(reason__contains="does not answer").exists())
    back = Locale2bServer(port=port)
    try:
        goal = engine.work(goal)
    finally:
        back.stop()
    assert goal.status == "succeeded", story(goal)
    assert set(Run.objects.values_list("attempt", "losses")) == {(1, 0)}


@pytest.mark.services
def test_a_wrong_key_is_one_clear_failure(engine: Engine) -> None:
    service = Locale2bServer(key="the-right-one")
    try:
        engine.use(provider_for(service, folder=engine.folder, LOCALE2B_API_KEY="the-wrong-one"))
        engine.serve(writes_a_file)
        goal = engine.work(engine.goal("one"))
    finally:
        service.stop()
    assert goal.status == "failed"
    assert "LOCALE2B_API_KEY" in goal.reason
    assert "the-wrong-one" not in story(goal) + goal.reason
    assert Run.objects.count() == 1
    assert len(service.asked) == 1, "no storm of retries"


@pytest.mark.services
def test_a_cancelled_goal_has_no_vm_after_ten_seconds(remote: Engine, service: Locale2bServer) -> None:
    """The worker's heartbeat is played: it tells the run's thread, and waits for nothing itself."""

    def model(request: Request) -> dict[str, Any]:
        return (
            call("run_command", command="touch begun; sleep 300")
            if role(request) == "executor"
            else writes_a_file(request)
        )

    remote.serve(model)
    goal = remote.goal("one")

    def begun() -> bool:
        remote.worker.claim_idle()
        return any((machine.folder / "workspace/begun").exists() for machine in list(service.machines.values()))

    assert until(begun, 20), story(goal)
    services.cancel_goal(goal.pk)
    cancelled_at = time.monotonic()
    remote.worker._heartbeat()
    assert time.monotonic() - cancelled_at < 1, "the heartbeat of the others goes on"
    assert until(lambda: service.machines == {}, 10)
    goal = remote.work(goal)
    assert goal.status == "cancelled"


@pytest.mark.services
@pytest.mark.long
def test_no_secret_of_the_worker_gets_into_a_request(
    remote: Engine, service: Locale2bServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LLM_API_KEY", "SECRET_KEY", "PIP_INDEX_URL", "HOME_MADE"):
        monkeypatch.setenv(name, "hunter2-planted")
    remote.serve(answer, key="hunter2-planted")
    remote.key = "hunter2-planted"
    goal = remote.work(remote.goal(EXAMPLE_GOAL, repo=remote.example(), checks=[EXAMPLE_CHECK]))
    assert goal.status == "succeeded", story(goal)
    said = b"".join(asked.path.encode() + asked.body for asked in service.asked)
    assert b"hunter2" not in said
    assert not any("hunter2" in value for asked in service.asked for value in asked.headers.values())


@pytest.mark.services
def test_steps_side_by_side_share_two_services_one_command_each(engine: Engine) -> None:
    pair = [Locale2bServer(), Locale2bServer()]
    try:
        engine.use(provider_for(*pair, folder=engine.folder))
        engine.serve(writes_a_file)
        goal = engine.work(engine.goal("one\ntwo\nthree"))
        assert goal.status == "succeeded", story(goal)
        assert all(server.calls("create") for server in pair)
    finally:
        for server in pair:
            server.stop()

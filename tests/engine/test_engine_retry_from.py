"""Retry of an ended goal from its step k: what is in the commit that k started from is kept, and git agrees."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from orchestration import services
from orchestration.blobs import load_blob
from orchestration.errors import BadInput, IllegalMove
from orchestration.models import Goal, Step
from tests.support.engine import Engine
from tests.support.installation import story
from tests.support.models import Gated, brief_in, role, say, step, writes_a_file


def in_a_row(request: Any) -> Any:
    """As `writes_a_file`, one step after the other."""
    if role(request) != "planner":
        return writes_a_file(request)
    lines = brief_in(request["messages"])["goal"].splitlines()
    return say({"summary": "", "steps": [step(n, line, can_parallelize=False) for n, line in enumerate(lines)]})


def plan_of(goal: Goal) -> dict[int, Step]:
    return {step.index: step for step in Step.objects.filter(plan__rollout__goal=goal).order_by("plan__revision")}


def asked(engine: Engine) -> int:
    assert engine.model is not None
    return len(engine.model.calls)


def git(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)


def unpacked(goal: Goal, folder: Path) -> Path:
    """The commits of a goal's rollout in a repository."""
    folder.mkdir()
    git(folder, "init", "-q", "--bare")
    rollout = goal.rollouts.get(number=1)
    for bundle in (goal.base_bundle, rollout.head_bundle):
        assert bundle is not None
        (folder / "in.bundle").write_bytes(load_blob(bundle.pk))
        assert git(folder, "fetch", "-q", str(folder / "in.bundle"), "refs/*:refs/in/*").returncode == 0
    return folder


@pytest.fixture
def old(engine: Engine) -> Goal:
    engine.serve(in_a_row)
    goal = engine.work(engine.goal("one\ntwo\nthree"))
    assert goal.status == "succeeded", story(goal)
    return goal


def test_the_steps_before_it_are_kept_and_it_is_done_again_with_what_came_after(
    engine: Engine, old: Goal, open_folder: Path
) -> None:
    before = plan_of(old)
    bought = asked(engine)
    goal = services.retry_goal(old.pk, from_step=1)
    first = goal.rollouts.get()
    assert first.head == before[0].commit
    assert {index: s.status for index, s in plan_of(goal).items()} == {0: "succeeded", 1: "queued", 2: "pending"}
    assert plan_of(goal)[0].carried_from == before[0]
    goal = engine.work(goal)
    assert goal.status == "succeeded", story(goal)
    assert goal.retry_of == old
    assert asked(engine) - bought == 3 + 3 + 1, "two steps and the review, no plan and not the kept step"
    after = plan_of(goal)
    repo = unpacked(goal, open_folder / "after")
    kept, head = before[0].commit, goal.rollouts.get().head
    assert git(repo, "merge-base", "--is-ancestor", kept, head).returncode == 0
    names = git(repo, "ls-tree", "--name-only", head).stdout.split()
    assert names == ["note-0.txt", "note-1.txt", "note-2.txt"]
    assert after[0].commit == kept
    assert git(repo, "rev-list", "--count", f"{kept}..{head}").stdout.strip() == "2"


def test_from_the_first_step_nothing_is_kept_but_the_plan(engine: Engine, old: Goal) -> None:
    goal = services.retry_goal(old.pk, from_step=0)
    rollout = goal.rollouts.get()
    assert (rollout.head, rollout.head_bundle) == (old.base_sha, None)
    assert {s.status for s in plan_of(goal).values()} == {"queued", "pending"}
    assert engine.work(goal).status == "succeeded"


def test_a_retry_can_be_retried_from_a_step_and_keeps_what_it_had_inherited(engine: Engine, old: Goal) -> None:
    second = engine.work(services.retry_goal(old.pk, from_step=1))
    third = services.retry_goal(second.pk, from_step=2)
    assert {index: s.status for index, s in plan_of(third).items()} == {0: "succeeded", 1: "succeeded", 2: "queued"}
    assert third.rollouts.get().head == plan_of(second)[1].commit
    assert engine.work(third).status == "succeeded"
    fourth = services.retry_goal(second.pk, from_step=1)
    assert [plan_of(fourth)[n].status for n in (0, 1)] == ["succeeded", "queued"]


def test_a_step_that_ran_beside_it_is_not_in_its_start_and_is_done_again(engine: Engine) -> None:
    gate = Gated("executor", answerer=writes_a_file)
    engine.serve(gate)
    goal = engine.goal("one\ntwo")
    while goal.runs.filter(kind="step", status="running").count() < 2:
        engine.worker.claim_idle()
    gate.open()
    assert engine.work(goal).status == "succeeded"
    again = services.retry_goal(goal.pk, from_step=1)
    assert {s.status for s in plan_of(again).values()} == {"queued"}
    assert again.rollouts.get().head == goal.base_sha


def test_a_failed_goal_goes_on_from_its_failed_step_by_itself_or_by_name(engine: Engine) -> None:
    def gives_up_at_two(request: Any) -> Any:
        if role(request) == "executor" and brief_in(request["messages"])["step"]["index"] == 1:
            return {
                "content": "",
                "tool_calls": [{"name": "finish", "arguments": '{"success": false, "summary": "no"}'}],
            }
        if role(request) == "reviewer":
            return say({"action": "stop", "reasoning": "no", "confidence": 0.9, "evidence": []})
        return in_a_row(request)

    engine.serve(gives_up_at_two)
    goal = engine.work(engine.goal("one\ntwo\nthree"))
    assert goal.status == "failed"
    by_itself, by_name = services.retry_goal(goal.pk), services.retry_goal(goal.pk, from_step=1)
    states = [{n: s.status for n, s in plan_of(g).items()} for g in (by_itself, by_name)]
    assert states[0] == states[1] == {0: "succeeded", 1: "queued", 2: "pending"}
    with pytest.raises(BadInput, match="step 2 was never begun"):
        services.retry_goal(goal.pk, from_step=2)


def test_what_cannot_be_is_said(engine: Engine, old: Goal) -> None:
    with pytest.raises(BadInput, match=r"there is no step 7 in plan r1.*its steps are 0, 1, 2"):
        services.retry_goal(old.pk, from_step=7)
    with pytest.raises(BadInput, match="has no rollout 3"):
        services.retry_goal(old.pk, from_step=1, rollout=3)
    early = engine.goal("one")
    with pytest.raises(IllegalMove, match="only an ended goal"):
        services.retry_goal(early.pk, from_step=0)
    services.cancel_goal(early.pk)
    with pytest.raises(BadInput, match="has no plan"):
        services.retry_goal(early.pk, from_step=0)
    assert Goal.objects.filter(retry_of=early).count() == 0

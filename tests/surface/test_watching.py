"""`goal watch`: what happened is told, each thing once."""

from __future__ import annotations

import pytest

from orchestration import services
from orchestration.hotpath import settle_call
from orchestration.models import Call, Goal, Run
from orchestration.services import claim
from orchestration.states import CallKind
from orchestration.terminal import Paint
from orchestration.watching import Watcher


@pytest.fixture
def goal(db: None) -> Goal:
    return services.submit_goal("Write a note")


@pytest.fixture
def watcher(goal: Goal) -> tuple[Watcher, list[str]]:
    said: list[str] = []
    return Watcher(goal, said.append, said.append, Paint(False)), said


def begun(run: Run, index: int) -> int:
    request = {"script": f"command-{index}"}
    call = Call.objects.create(
        run=run, turn=1, index=index, kind=CallKind.COMMAND, fence=run.fence, request=request, request_hash=str(index)
    )
    return int(call.pk)


def test_a_command_that_began_first_and_ended_last_is_told_too(watcher: tuple[Watcher, list[str]], goal: Goal) -> None:
    run = claim(goal.runs.get().pk, "worker")
    assert run is not None
    first, second = begun(run, 1), begun(run, 2)
    watch, said = watcher
    for ended in (second, first):
        settle_call(run, ended, exit_code=0)
        watch.tell()
    watch.tell()
    commands = [line.split("$ ")[1].split()[0] for line in said if "$ " in line]
    assert commands == ["command-2", "command-1"]

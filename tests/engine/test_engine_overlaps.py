"""Two goals at work on the same files of a repository are told of each other: on both, once, and no stranger's name is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from orchestration import services
from orchestration.models import Event, Goal, Repository
from orchestration.services import overlapping
from orchestration.services.overlapping import find_pairs, tell_pair
from tests.support.audit import all_holds
from tests.support.engine import Engine
from tests.support.models import Gated, Request, call, role, say, step, turn, writes_a_file
from tests.support.people import member, team

pytestmark = pytest.mark.long


class Writes:
    """Each goal writes the file that it is called by; its plan says so only where it is told to."""

    def __call__(self, request: Request) -> dict[str, Any]:
        if role(request) == "planner":
            name = str(request["messages"][-1]["content"])
            return say({"steps": [step(0, "one", writes=["shop/*.py"] if "by plan" in name else [])]})
        if role(request) == "executor" and turn(request) == 0:
            return call("write_file", path="shop/a.py", content="x = 1\n")
        return writes_a_file(request)


def told(goal: Goal) -> list[tuple[str, Any, list[str]]]:
    rows = Event.objects.filter(goal=goal, kind="goal.overlaps").order_by("seq")
    return [(row.subject, row.data.get("other"), row.data["files"]) for row in rows]


@pytest.fixture
def repo(engine: Engine) -> Path:
    return engine.repository({"shop/a.py": "x = 0\n"})


def at_work(engine: Engine, repo: Path, *texts: str, **more: Any) -> tuple[list[Goal], Gated]:
    """So many goals, whose executors have written their file and are in their next call."""
    gate = Gated("executor", answerer=Writes(), after=1)
    engine.serve(gate)
    goals = [engine.goal(text, repo=str(repo), **more) for text in texts]
    for goal in goals:
        engine.work(goal, until=lambda goal=goal: goal.runs.filter(kind="step", calls__kind="file").exists())
    return goals, gate


def test_both_are_told_once_on_page_and_in_the_shell_until_one_is_over(
    engine: Engine, repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (one, other), gate = at_work(engine, repo, "the first", "by plan")
    for _ in range(2):
        for pair in find_pairs():
            assert tell_pair(pair)
    assert told(one) == [(f"goal {other.short_id}", str(other.pk), ["shop/a.py"])]
    assert told(other) == [(f"goal {one.short_id}", str(one.pk), ["shop/a.py"])]
    call_command("goal", "show", str(one.pk))
    assert f"works on files that goal {other.short_id} works on too: shop/a.py" in capsys.readouterr().out
    ana = Client()
    ana.force_login(member("ana", "viewer"))
    page = ana.get(f"/goals/{one.pk}/").content.decode()
    assert "Others work on the same files" in page
    assert f'href="/goals/{other.pk}/"' in page
    gate.open()
    assert engine.work(one).status == "succeeded"
    assert "Others work on the same files" not in ana.get(f"/goals/{other.pk}/").content.decode()
    engine.work(other)
    all_holds()


def test_of_another_team_nothing_is_told_but_that_there_is_one(engine: Engine, repo: Path) -> None:
    (mine,), gate = at_work(engine, repo, "the first")
    theirs = engine.goal("by plan", repo=str(repo), team=team("elsewhere"))
    assert Repository.objects.filter(path=str(repo)).count() == 2
    engine.work(theirs, until=lambda: theirs.runs.filter(kind="step", calls__kind="file").exists())
    [pair] = find_pairs()
    assert tell_pair(pair)
    assert not tell_pair(pair)
    for goal, stranger in ((mine, theirs), (theirs, mine)):
        assert told(goal) == [("a goal of another team", None, ["shop/a.py"])]
        data = str(Event.objects.get(goal=goal, kind="goal.overlaps").data)
        assert stranger.pk.hex not in data.replace("-", "")
    gate.open()
    for goal in (mine, theirs):
        engine.work(goal)


def test_the_housekeeper_looks_now_and_then(engine: Engine, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlapping, "_looked_at", 0.0)
    goals, gate = at_work(engine, repo, "the first", "the second")
    monkeypatch.setattr(overlapping, "_looked_at", 0.0)
    assert services.sweep()["overlaps"] == 1
    assert services.sweep()["overlaps"] == 0
    gate.open()
    for goal in goals:
        engine.work(goal)

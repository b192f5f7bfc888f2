"""A follow-up goes on from the result of an ended goal, with what a person has pushed to its branch since."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from agents.delivery import apply_patch
from orchestration import services
from orchestration.blobs import load_blob
from orchestration.errors import BadInput, IllegalMove
from orchestration.models import Goal, Run
from orchestration.services.access import create_token
from tests.api.conftest import Api
from tests.support.engine import Engine
from tests.support.installation import story
from tests.support.models import Request, brief_in, call, role, turn, writes_a_file
from tests.support.people import member

pytestmark = pytest.mark.long


class Sees:
    """An executor that looks around first; `briefs` are what it was told."""

    def __init__(self) -> None:
        self.briefs: list[dict[str, Any]] = []
        self.seen: list[str] = []

    def __call__(self, request: Request) -> Any:
        if role(request) != "executor":
            return writes_a_file(request)
        brief = brief_in(request["messages"])
        if turn(request) == 0:
            self.briefs.append(brief)
            return call("run_command", command="ls; cat *.txt")
        self.seen.append(str(request["messages"][-1]["content"]))
        name = f"more-{len(self.briefs)}.txt"
        if turn(request) == 1:
            return call("write_file", path=name, content="more\n")
        return call("finish", success=True, summary="done")


def git(repo: Path, *words: str) -> str:
    author = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    return subprocess.run(["git", *author, *words], cwd=repo, check=True, capture_output=True, text=True).stdout


def test_it_starts_from_the_branch_with_what_a_person_pushed_to_it(engine: Engine, tmp_path: Path) -> None:
    model = Sees()
    engine.serve(writes_a_file)
    repo = engine.repository({"README": "hello\n"})
    first = engine.work(engine.goal("one", repo=str(repo), hidden_checks=["test -e note-0.txt # secret"]))
    branch = first.rollouts.get().branch
    assert (first.status, bool(branch)) == ("succeeded", True), story(first)
    git(repo, "worktree", "add", "-q", str(engine.folder / "tree"), branch)
    (engine.folder / "tree" / "by-hand.txt").write_text("a person was here\n")
    git(engine.folder / "tree", "add", "-A")
    git(engine.folder / "tree", "commit", "-qm", "by hand")
    engine.serve(model)
    second = services.follow_up(first.pk, "two")
    assert (second.follow_up_of, second.checks, second.hidden_checks) == (first, [], first.hidden_checks)
    second = engine.work(second)
    assert second.status == "succeeded", story(second)
    assert "a person was here" in model.seen[0]
    assert "note-0.txt" in model.seen[0]
    assert second.base_sha == git(repo, "rev-parse", branch).strip()
    earlier = model.briefs[0]["context"]["earlier"]
    assert (earlier["goal"], "# Goal" in earlier["handover"], "What was tried" in earlier["handover"]) == (
        "one",
        True,
        True,
    )
    assert "secret" not in json.dumps(model.briefs), "a hidden check stays hidden"
    assert Run.objects.filter(goal=second, kind="plan").count() == 1


def test_a_result_without_a_branch_is_gone_on_from_by_its_commit(engine: Engine) -> None:
    model = Sees()
    engine.serve(writes_a_file)
    first = engine.work(engine.goal("one"))
    assert first.rollouts.get().branch == ""
    engine.serve(model)
    second = engine.work(services.follow_up(first.pk, "two"))
    assert second.status == "succeeded", story(second)
    assert "note-0.txt" in model.seen[0]
    patch = load_blob(second.selected.patch_id)  # type: ignore[union-attr,arg-type]
    assert b"note-0.txt" in patch
    assert b"more-1.txt" in patch
    third = services.follow_up(first.pk, "three")
    services.cancel_goal(third.pk)
    again = services.retry_goal(third.pk)
    assert (again.follow_up_of, again.rollouts.get().head) == (first, first.rollouts.get().head), "not from nothing"
    services.cancel_goal(again.pk)
    tree = engine.repository({"x": "y"}, "tree")
    apply_patch(tree, patch)
    assert (tree / "more-1.txt").exists()


def test_only_an_ended_goal_with_a_result_is_followed_up(engine: Engine) -> None:
    engine.serve(writes_a_file)
    goal = engine.goal("one")
    with pytest.raises(IllegalMove, match="only an ended goal"):
        services.follow_up(goal.pk, "two")
    services.cancel_goal(goal.pk)
    with pytest.raises(IllegalMove, match="no commit"):
        services.follow_up(goal.pk, "two")
    with pytest.raises(BadInput, match="empty"):
        services.follow_up(goal.pk, " ")


def test_the_button_makes_one_goal_however_often_it_is_sent_and_the_api_another(engine: Engine) -> None:
    ada = member("ada")
    engine.serve(writes_a_file)
    first = engine.work(engine.goal("one", by=ada))
    client = Client()
    client.force_login(ada)
    assert "Request changes" in client.get(f"/goals/{first.pk}/").content.decode()
    for _ in range(2):
        answer = client.post(f"/goals/{first.pk}/act/follow-up/", {"key": "k", "text": "two"})
    child = Goal.objects.get(follow_up_of=first)
    assert (answer["Location"], child.submitted_by) == (f"/goals/{child.pk}/", ada)
    api = Api(create_token(ada, "t")[1])
    made = api.post(f"/goals/{first.pk}/follow-up", {"text": "three", "limits": {"calls": 7}})
    assert (made.status_code, made.json()["follow_up_of"], made.json()["cost"]["max_calls"]) == (202, str(first.pk), 7)
    for goal in Goal.objects.filter(follow_up_of=first):
        services.cancel_goal(goal.pk)

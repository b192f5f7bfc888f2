"""The main job with real parts: commands, workers, Redis, sandbox, and a model server over HTTP."""

from __future__ import annotations

import json
import subprocess

from orchestration.models import Budget, Call, Goal
from orchestration.states import CallKind
from tests.support.installation import EXAMPLE_CHECK, EXAMPLE_GOAL, Installation
from tests.support.models import writes_a_file


def test_a_goal_goes_in_and_a_verified_result_comes_out(installation: Installation) -> None:
    repo = installation.example()
    installation.worker()
    done = installation.manage(
        "goal", "submit", EXAMPLE_GOAL, "--repo", str(repo), "--check", EXAMPLE_CHECK, "--watch", "--timeout", "60"
    )
    goal = Goal.objects.get()
    assert (goal.status, goal.verified) == ("succeeded", True)
    assert "check on the base commit" in done.stdout
    assert "succeeded, verified (scripted)" in done.stdout
    assert "(scripted)" in installation.manage("goal", "list").stdout
    assert goal.selected.branch in git(repo, "branch", "--list", "compymac/*")
    assert git(repo, "status", "--porcelain") == "", "the person's tree is not touched"
    installation.manage("goal", "apply", "last")
    assert subprocess.run(EXAMPLE_CHECK.split(), cwd=repo, check=False, capture_output=True).returncode == 0


def test_the_journal_holds_each_call_that_the_model_server_answered(installation: Installation) -> None:
    repo = installation.example()
    installation.worker()
    installation.manage("goal", "submit", EXAMPLE_GOAL, "--repo", str(repo), "--check", EXAMPLE_CHECK, "--watch")
    booked = Call.objects.filter(kind=CallKind.LLM)
    assert booked.count() == len(installation.model.calls) > 5
    budget = Budget.objects.get()
    assert budget.calls == booked.count()
    assert (budget.reserved_tokens, budget.spent_tokens) == (
        0,
        sum(c.prompt_tokens + c.completion_tokens for c in booked),
    )


def test_a_goal_without_checks_and_repository_ends_unverified_and_says_so(installation: Installation) -> None:
    installation.worker(LLM_BASE_URL=installation.serve_model(writes_a_file).url)
    done = installation.manage("goal", "submit", "Write a note", "--watch")
    goal = Goal.objects.get()
    assert (goal.status, goal.verified) == ("succeeded", False)
    assert "unverified" in done.stdout
    assert json.loads(installation.manage("goal", "show", "last", "--json").stdout)["verified"] is False
    assert "note-0.txt" in installation.manage("goal", "apply", "last", "--print").stdout


def git(repo: object, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=str(repo), check=True, capture_output=True, text=True).stdout

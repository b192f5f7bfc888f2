"""A repository's own tools, with both local sandboxes: built once by its set-up commands, or folders of this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agents.llm.demo_model import answer
from agents.sandbox.registry import choose
from orchestration.models import Check, Goal, Run
from tests.support.engine import Engine
from tests.support.installation import EXAMPLE_GOAL, story
from tests.support.models import writes_a_file

SETUP = "mkdir -p .venv/bin; printf '#!/bin/sh\necho %s\n' $(date +%s%N) > .venv/bin/when; chmod +x .venv/bin/when"


@pytest.fixture(params=["bubblewrap", "landlock"])
def both(request: pytest.FixtureRequest, engine: Engine) -> Engine:
    provider = choose(request.param, root=engine.folder / "boxes")
    engine.worker._tools = replace(engine.worker._tools, provider=provider)
    engine.serve(writes_a_file)
    return engine


def output(goal: Goal) -> list[str]:
    assert (goal.status, goal.verified) == ("succeeded", True), story(goal)
    return [check.output.strip() for check in Check.objects.filter(goal=goal).order_by("pk")]


def test_the_main_job_runs_in_each(both: Engine) -> None:
    both.serve(answer)
    goal = both.work(both.goal(EXAMPLE_GOAL, repo=both.example()))
    assert (goal.status, goal.verified) == ("succeeded", True), story(goal)


def test_what_was_set_up_once_serves_every_check_and_the_next_goal(both: Engine) -> None:
    repo = both.repository({"requirements.txt": "one\n"})
    first = output(both.work(both.goal("one", repo=repo, checks=["when"], setup=SETUP)))
    again = output(both.work(both.goal("two", repo=repo, checks=["when"])))
    assert len({*first, *again}) == 1


def test_other_lock_files_and_another_repository_have_an_environment_of_their_own(both: Engine) -> None:
    repos = [
        both.repository({"requirements.txt": "one\n", "a": ""}, "one"),
        both.repository({"requirements.txt": "two\n", "a": ""}, "two"),
        both.repository({"requirements.txt": "one\n", "b": ""}, "three"),
    ]
    built = [output(both.work(both.goal("one", repo=repo, checks=["when"], setup=SETUP)))[0] for repo in repos]
    assert len(set(built)) == 3


def test_it_is_built_without_secrets_and_nothing_writes_to_it(both: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_API_KEY", "canary")
    setup = f"{SETUP}; (env; cat /proc/*/environ) > .venv/bin/seen 2>/dev/null || true; chmod +x .venv/bin/seen"
    folder = '"$(dirname "$(command -v when)")"'
    checks = [f"grep HOME= {folder}/seen && ! grep canary {folder}/seen", f"! touch {folder}/when"]
    goal = both.work(both.goal("one", repo=both.repository({"a": ""}), checks=checks, setup=setup))
    assert (goal.status, goal.verified) == ("succeeded", True), story(goal)


def test_a_setup_that_fails_is_told_with_its_output_and_not_tried_again(both: Engine) -> None:
    setup = "printf 'no such package\\0'; exit 3"
    goal = both.work(both.goal("one", repo=both.repository({"a": ""}), setup=setup))
    assert goal.status == "failed"
    assert "setup ended with exit code 3" in goal.reason
    assert "no such package" in goal.reason
    assert Run.objects.count() == 1


def test_a_folder_of_tools_is_on_the_path_and_read_only(both: Engine) -> None:
    tool: Path = both.folder / "tools/bin/zork"
    tool.parent.mkdir(parents=True)
    tool.write_text("#!/bin/sh\necho zork\n")
    tool.chmod(0o755)
    checks = ["zork", '! touch "$(command -v zork)"']
    goal = both.goal("one", repo=both.repository({"a": ""}), checks=checks, toolchain=[str(tool.parent.parent)])
    assert output(both.work(goal))[0] == "zork"

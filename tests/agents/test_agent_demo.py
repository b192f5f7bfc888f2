"""The three roles together: the example repository, a real sandbox, and the demo model behind real HTTP."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from agents.checking import as_check, discover_checks
from agents.contracts import CheckResult, Evidence, PlanBrief, ReviewBrief, StepBrief
from agents.executor import ExecutorAgent
from agents.llm.demo_model import MODEL
from agents.llm.demo_server import DemoServer
from agents.llm.openai_compatible import OpenAICompatibleLLM
from agents.planner import PlannerAgent
from agents.ports import Command, Sandbox
from agents.reviewer import ReflectorAgent
from agents.survey import survey, tracked_files

EXAMPLES = Path(__file__).parents[2] / "examples"
GOAL = (EXAMPLES / "demo_goal.txt").read_text()


def check(box: Sandbox) -> list[CheckResult]:
    commands = discover_checks(tracked_files(box), box.read)
    return [as_check(command, "discovered", "", box.run(Command(command))) for command in commands]


@pytest.mark.parametrize("tool_calls", [True, False])
def test_the_example_goes_from_red_to_green(box: Sandbox, demo_server: DemoServer, tool_calls: bool) -> None:
    for path in (EXAMPLES / "demo_repo").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            box.write(path.relative_to(EXAMPLES / "demo_repo").as_posix(), path.read_bytes())
    assert box.run(Command('git init -q --bare "$VAULT" && git --git-dir="$VAULT" --work-tree=. add -A', vault=True)).ok
    before = check(box)
    assert [result.passed for result in before] == [False]

    llm = OpenAICompatibleLLM(demo_server.url, MODEL)
    draft = PlannerAgent(llm, box, tool_calls=tool_calls).plan(PlanBrief(goal=GOAL, survey=survey(box), checks=before))
    assert sorted(name for step in draft.steps for name in step.writes) == [
        "tinyshop/inventory.py",
        "tinyshop/pricing.py",
    ]
    executor = ExecutorAgent(llm, box, tool_calls=tool_calls)
    assert all(executor.execute(StepBrief(goal=GOAL, step=step)).success for step in draft.steps)

    after = check(box)
    assert [result.passed for result in after] == [True]
    evidence = [Evidence(id="c1", title=after[0].command, exit_code=0, output=after[0].output)]
    verdict = ReflectorAgent(llm).judge(
        ReviewBrief(goal=GOAL, checks_before=before, checks_after=after, evidence=evidence)
    )
    assert (verdict.action, verdict.evidence) == ("complete", ["c1"])


def test_the_seeds_words_work_with_the_model_of_the_environment(
    tmp_path: Path, demo_server: DemoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_BASE_URL", demo_server.url)
    monkeypatch.setenv("LLM_MODEL", MODEL)
    mine = shutil.copytree(EXAMPLES / "demo_repo", tmp_path / "mine")
    plan = PlannerAgent().create_plan(GOAL)
    assert len(plan["steps"]) == 1
    step = {"description": "Fix tinyshop/pricing.py", "check": "python3 -m unittest tests.test_pricing"}
    assert ExecutorAgent(workspace=mine).execute(step).success
    assert "return price * (100 - percent) // 100" in (mine / "tinyshop/pricing.py").read_text()
    assert ReflectorAgent().review({"goal": GOAL, "checks": []})["action"] == "retry_with_changes"

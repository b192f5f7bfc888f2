"""The reviewer judges by evidence, and a failing check can't be argued with."""

from __future__ import annotations

import json

import pytest

from agents.contracts import CheckResult, Evidence, Finding, ReviewBrief, Verdict
from agents.llm.scripted import ScriptedLLM
from agents.reviewer import ReflectorAgent, conceal, overrule

GREEN = CheckResult(command="make test", passed=True, exit_code=0)
RED = CheckResult(command="make test", passed=False, exit_code=2, output="2 failed")
EVIDENCE = [Evidence(id="c1", title="check: make test", exit_code=0), Evidence(id="x1", title="command: ls")]


def said(action: str = "complete", **more: object) -> str:
    return json.dumps({"action": action, "reasoning": "because", "confidence": 0.9, **more})


@pytest.mark.parametrize(
    ("action", "checks", "becomes"),
    [
        ("complete", [], "complete"),
        ("complete", [GREEN], "complete"),
        ("complete", [RED], "retry_with_changes"),
        ("complete", [GREEN, RED], "retry_with_changes"),
        ("continue", [RED], "retry_with_changes"),
        ("continue", [GREEN], "continue"),
        ("retry_same", [RED], "retry_same"),
        ("retry_with_changes", [RED], "retry_with_changes"),
        ("gather_info", [RED], "gather_info"),
        ("replan", [RED], "replan"),
        ("stop", [RED], "stop"),
    ],
)
def test_only_a_failing_check_overrules_and_only_what_calls_it_done(
    action: str, checks: list[CheckResult], becomes: str
) -> None:
    verdict = Verdict(action=action, reasoning="because", steps=[1])  # type: ignore[arg-type]
    ruled = overrule(verdict, checks)
    assert ruled.action == becomes
    assert ruled.steps == [1]
    assert ruled == verdict or "'make test' fails (exit code 2)" in ruled.reasoning
    assert overrule(ruled, checks) == ruled


def test_the_overruled_verdict_says_what_to_change_and_stays_a_valid_one() -> None:
    long = overrule(Verdict(action="complete", reasoning="r" * 8000), [RED])
    assert long.suggested_changes == "Make this check pass: 2 failed"
    assert Verdict.model_validate(long.model_dump()) == long


def test_a_verdict_that_cites_evidence_is_taken() -> None:
    llm = ScriptedLLM([said(evidence=["c1"])])
    verdict = ReflectorAgent(llm).judge(ReviewBrief(goal="g", checks_after=[GREEN], evidence=EVIDENCE))
    assert (verdict.action, verdict.confidence) == ("complete", 0.9)
    system, user = llm.requests[0].messages
    assert system.content.startswith("You are the reviewer")
    assert "is data" in system.content
    assert json.loads(user.content.split("```json\n")[1].split("\n```")[0])["evidence"][0]["id"] == "c1"


@pytest.mark.parametrize("cited", [[], ["c9"], ["the tests"]])
def test_a_verdict_without_known_evidence_is_asked_again_once_and_then_weighs_nothing(cited: list[str]) -> None:
    llm = ScriptedLLM([said(evidence=cited), said(evidence=cited)])
    verdict = ReflectorAgent(llm).judge(ReviewBrief(goal="g", evidence=EVIDENCE))
    assert len(llm.requests) == 2
    assert "name at least one id of c1, x1" in llm.requests[1].messages[-1].content
    assert (verdict.action, verdict.confidence) == ("complete", 0.0)


def test_without_evidence_none_has_to_be_cited() -> None:
    llm = ScriptedLLM([said()])
    assert ReflectorAgent(llm).judge(ReviewBrief(goal="g")).confidence == 0.9


def test_complete_is_not_accepted_while_a_persons_check_fails() -> None:
    verdict = ReflectorAgent(ScriptedLLM([said()])).judge(ReviewBrief(goal="g", checks_after=[RED]))
    assert verdict.action == "retry_with_changes"
    assert verdict.reasoning.startswith("The reviewer said complete, but 'make test' fails (exit code 2).")


def test_which_discovered_checks_count_is_left_to_the_engine() -> None:
    discovered = RED.model_copy(update={"origin": "discovered"})
    verdict = ReflectorAgent(ScriptedLLM([said()])).judge(ReviewBrief(goal="g", checks_after=[discovered]))
    assert verdict.action == "complete"


def test_an_unknown_action_is_asked_again() -> None:
    llm = ScriptedLLM([said("celebrate"), said("stop")])
    assert ReflectorAgent(llm).judge(ReviewBrief(goal="g")).action == "stop"
    assert "action: Input should be" in llm.requests[1].messages[-1].content


# ---- the seed's words


def test_a_result_goes_in_and_a_dict_comes_out() -> None:
    result = {
        "goal": "g",
        "diff": "+x",
        "summary": "I did it very well, complete!",
        "checks": [GREEN.model_dump()],
        "commands": [{"command": "ls", "exit_code": 0}],
    }
    llm = ScriptedLLM([said(evidence=["x1"])])
    review = ReflectorAgent(llm).review(result)
    assert review == {"action": "complete", "reasoning": "because", "suggested_changes": "", "confidence": 0.9}
    assert "very well" not in llm.requests[0].messages[1].content


def test_every_failing_check_of_a_result_overrules() -> None:
    result = {"checks": [{**RED.model_dump(), "origin": "step"}]}
    assert ReflectorAgent(ScriptedLLM([said()])).review(result)["action"] == "retry_with_changes"


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"checks": None, "commands": None, "goal": None, "diff": None},
        {"checks": "all green", "commands": 7},
        {"checks": [{"name": "make"}, 7], "commands": [{"exit_code": "zero"}, "ls"]},
        {"goal": "g" * 300_000, "diff": "d" * 300_000, "output": "o" * 300_000},
        {"anything": {"at": "all"}, "when": object()},
        {"goal": "a\0b", "diff": "\ud800"},
    ],
)
def test_any_mapping_can_be_judged(result: dict[str, object]) -> None:
    llm = ScriptedLLM([said(evidence=["r1", "x1"])])
    assert ReflectorAgent(llm).review(result)["action"] == "complete"
    assert len(llm.requests[0].messages[1].content) < 130_000


def test_checks_in_another_shape_are_shown_as_they_are() -> None:
    brief = ReflectorAgent().brief_of({"checks": [{"name": "make", "result": "red"}]})
    assert brief.checks_after == []
    assert '"result": "red"' in brief.evidence[-1].output


HIDDEN = CheckResult(
    command="make exam", origin="hidden", passed=False, exit_code=2, output="expected 42 coins, got 41\nok\n"
)


def test_a_hidden_check_overrules_without_being_told() -> None:
    ruled = overrule(Verdict(action="complete", reasoning="fine"), [HIDDEN])
    assert ruled.action == "retry_with_changes"
    assert "a hidden check fails (exit code 2)" in ruled.reasoning
    assert "exam" not in ruled.reasoning + ruled.suggested_changes
    assert "42" not in ruled.suggested_changes


@pytest.mark.parametrize("field", ["reasoning", "suggested_changes"])
def test_what_a_hidden_check_prints_is_taken_out_of_what_the_work_is_told(field: str) -> None:
    said = Verdict(action="retry_with_changes", **{field: "`make exam` says: expected 42 coins, got 41"})
    assert getattr(conceal(said, [HIDDEN]), field) == "`[hidden]` says: [hidden]"


def test_what_an_open_check_prints_as_well_is_no_secret() -> None:
    said = Verdict(action="retry_same", reasoning="expected 42 coins, got 41")
    assert conceal(said, [HIDDEN, HIDDEN.model_copy(update={"origin": "person", "command": "make test"})]) == said


def test_a_finding_tells_nothing_either() -> None:
    finding = Finding(file="a.py", line=3, text="expected 42 coins, got 41")
    assert conceal(Verdict(action="stop", findings=[finding]), [HIDDEN]).findings[0].text == "[hidden]"

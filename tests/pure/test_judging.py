"""Who judges, and when judging has stopped helping."""

from __future__ import annotations

from typing import Any

import pytest

from agents.contracts import CheckResult, Counts, Verdict
from agents.loop import alternates
from orchestration.judging import asks_person, between, judge_of, same_again, verdict_of_checks


def check(command: str = "make test", passed: bool = True, output: str = "", **more: Any) -> CheckResult:
    return CheckResult(command=command, passed=passed, exit_code=0 if passed else 1, output=output, **more)


RED, GREEN = check(passed=False, output="no"), check()


@pytest.mark.parametrize(
    ("when", "by", "after", "problem", "judge"),
    [
        ("final", "llm", [GREEN], "", "llm"),
        ("each_step", "llm", [GREEN], "", "llm"),
        ("on_failure", "llm", [GREEN], "", "checks"),
        ("on_failure", "llm", [GREEN], "step 1 failed", "llm"),
        ("on_failure", "llm", [RED], "", "llm"),
        ("on_failure", "llm", [], "", "llm"),
        ("on_failure", "llm_then_human", [GREEN], "", "checks"),
        ("final", "deterministic", [RED], "", "checks"),
        ("final", "deterministic", [], "", "checks"),
        ("final", "human", [GREEN], "", "checks"),
    ],
)
def test_who_judges(when: str, by: str, after: list[CheckResult], problem: str, judge: str) -> None:
    assert judge_of(when, by, [RED], after, problem) == judge


@pytest.mark.parametrize(
    ("after", "problem", "action", "confidence"),
    [
        ([GREEN], "", "complete", 1.0),
        ([], "", "complete", 0.0),
        ([RED], "", "retry_with_changes", 1.0),
        ([GREEN], "step 1 failed for good", "retry_with_changes", 1.0),
    ],
)
def test_what_follows_from_checks_alone(after: list[CheckResult], problem: str, action: str, confidence: float) -> None:
    verdict = verdict_of_checks([RED], after, problem)
    assert (verdict.action, verdict.confidence) == (action, confidence)


def test_between_steps_checks_alone_go_on_unless_something_is_wrong() -> None:
    assert verdict_of_checks([RED], [RED], last=False).action == "continue"
    assert verdict_of_checks([RED], [RED], "step 1 failed for good", last=False).action == "retry_with_changes"


def test_a_hidden_check_is_not_told_by_them() -> None:
    verdict = verdict_of_checks([], [check("cat exam", passed=False, output="the answer is 42", origin="hidden")])
    assert verdict.action == "retry_with_changes"
    assert "exam" not in verdict.model_dump_json()
    assert "42" not in verdict.model_dump_json()


@pytest.mark.parametrize(
    ("by", "below", "action", "confidence", "asked"),
    [
        ("llm", 0, "complete", 0.0, False),
        ("llm", 0.7, "complete", 0.7, False),
        ("llm", 0.7, "complete", 0.69, True),
        ("llm", 0.7, "replan", 0.2, True),
        ("llm", 0.7, "continue", 0.2, False),
        ("human", 0, "complete", 1.0, True),
        ("llm_then_human", 0, "complete", 1.0, True),
        ("llm_then_human", 0, "stop", 1.0, True),
        ("llm_then_human", 0, "retry_with_changes", 1.0, False),
    ],
)
def test_when_a_person_is_asked(by: str, below: float, action: Any, confidence: float, asked: bool) -> None:
    assert bool(asks_person(by, below, Verdict(action=action, confidence=confidence))) is asked


def test_between_steps_a_complete_that_is_not_proven_goes_on() -> None:
    assert between(Verdict(action="complete"), [RED]).action == "continue"
    assert between(Verdict(action="complete"), []).action == "complete"
    assert between(Verdict(action="stop"), [RED]).action == "stop"


def named(*failures: str) -> CheckResult:
    return check(passed=False, counts=Counts(runner="pytest", failed=len(failures), failures=list(failures)))


@pytest.mark.parametrize(
    ("now", "before", "same"),
    [
        (
            [check(passed=False, output="1 failed in 0.31s at 0x7f2a")],
            [check(passed=False, output="1 failed in 2.9s at 0x11")],
            True,
        ),
        ([check(passed=False, output="no such file")], [check(passed=False, output="syntax error")], False),
        ([named("test_a", "test_b")], [named("test_b", "test_a")], True),
        ([named("test_a")], [named("test_a", "test_b")], False),
        ([GREEN], [GREEN], False),
        ([check(passed=False, flaky=True)], [check(passed=False, flaky=True)], False),
        ([check("lint", passed=False)], [check("test", passed=False)], False),
    ],
    ids=["times differ", "another reason", "same names", "one less", "passes", "flaky", "another check"],
)
def test_the_same_failure_is_known_again(now: list[CheckResult], before: list[CheckResult], same: bool) -> None:
    assert same_again(now, before) == (now[0].command if same else "")


@pytest.mark.parametrize(
    ("done", "pairs", "stuck"),
    [
        ("abababababab", 6, True),
        ("bababababa", 6, False),
        ("xabababababab", 6, True),
        ("abababababac", 6, False),
        ("aaaaaaaaaaaa", 6, True),
        ("abab", 2, True),
        ("abababababab", 0, False),
        ("", 6, False),
    ],
)
def test_two_actions_in_turns(done: str, pairs: int, stuck: bool) -> None:
    assert alternates(list(done), pairs) is stuck

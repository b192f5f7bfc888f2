"""PURE: who judges, and when judging has stopped helping.

A review policy is *when* (each_step, on_failure, final) and *by whom* (deterministic, llm, human, llm_then_human). None of
them overrules the checks: those are what is judged with.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

from agents.contracts import CheckResult, Verdict

from .proof import gating, proven

Judge = Literal["checks", "llm"]
Failure = tuple[str, ...]
TELLING_LINES = 20
VARIES = re.compile(r"0x[0-9a-f]+|\d+(\.\d+)?|/tmp/\S+")  # addresses, times, counts, folders: not what fails


def judge_of(when: str, by: str, before: Sequence[CheckResult], after: Sequence[CheckResult], problem: str) -> Judge:
    """Who gives the verdict, before a person may see it. *on_failure*: no model is asked where the checks prove the result."""
    if by in ("deterministic", "human"):
        return "checks"
    all_pass = proven(before, after) and all(check.passed for check in gating(before, after))
    return "checks" if when == "on_failure" and all_pass and not problem else "llm"


def verdict_of_checks(
    before: Sequence[CheckResult], after: Sequence[CheckResult], problem: str = "", *, last: bool = True
) -> Verdict:
    """What follows from the checks alone, without any model. Nothing to check: complete, which nothing proves.

    `last` False: steps are still to come, and what fails now may be theirs to mend.
    """
    failed = [check for check in gating(before, after) if not check.passed]
    if not failed and not problem:
        passed = [f"c{n}" for n, check in enumerate(after, 1) if check.passed]
        why = "The checks pass." if passed else "No check says anything against it, and none for it."
        return Verdict(action="complete", reasoning=why, confidence=1.0 if passed else 0.0, evidence=passed)
    if not last and not problem:
        return Verdict(action="continue", reasoning="What fails now may be for the steps to come.", confidence=0.5)
    shown = next((check for check in failed if check.origin != "hidden"), None)
    what = f"{len(failed)} check(s) fail" if failed else problem
    change = f"Make this check pass: {shown.command}\n{shown.output[-1500:]}" if shown else problem
    return Verdict(
        action="retry_with_changes",
        reasoning=f"By the checks alone: {what}.",
        suggested_changes=change or "Do all that the goal asks for, not only what is checked.",
        confidence=1.0,
        evidence=[f"c{n}" for n, check in enumerate(after, 1) if check in failed],
    )


def between(verdict: Verdict, failed: Collection[CheckResult]) -> Verdict:
    """A verdict while steps are still to come: what fails now may pass then, so a `complete` that is not proven goes on."""
    if verdict.action != "complete" or not failed:
        return verdict
    return verdict.model_copy(update={"action": "continue"})


def asks_person(by: str, ask_below: float, verdict: Verdict) -> str:
    """Why a person decides about this verdict before anything follows from it; empty if nobody is asked."""
    if by == "human":
        return "this goal's results are judged by a person"
    if by == "llm_then_human" and verdict.action in ("complete", "stop"):
        return f"the reviewer says {verdict.action}; a person has the last word on this goal"
    if verdict.action != "continue" and verdict.confidence < ask_below:
        return (
            f"the verdict's confidence is {verdict.confidence:.0%}, below the {ask_below:.0%} that this goal asks for"
        )
    return ""


# ---- no progress


def failures(checks: Iterable[Any]) -> frozenset[Failure]:
    """How each failed check failed, in a form that is the same when it fails the same way again."""
    return frozenset(_failure(check) for check in checks if not check.passed and not check.flaky)


def same_again(now: Iterable[Any], before: Iterable[Any]) -> str:
    """The command that fails now just as it failed before; empty if there is none."""
    return min((command for command, *_ in failures(now) & failures(before)), default="")


def _failure(check: Any) -> Failure:
    named = _names(check.counts)
    if named:
        return (check.command, *named)
    lines = [VARIES.sub("#", line).strip() for line in check.output.splitlines()]
    return (check.command, str(check.exit_code), *[line for line in lines if line][-TELLING_LINES:])


def _names(counts: Any) -> list[str]:
    if not counts:
        return []
    return sorted(counts.get("failures", ()) if isinstance(counts, Mapping) else counts.failures)

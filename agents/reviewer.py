"""The reviewer: judges by evidence; `overrule` is what it can't argue with.

`agents/reviewer.py: ReflectorAgent.judge` is the engine's entry point.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from .contracts import CheckResult, Evidence, ReviewBrief, StepOutcome, Verdict
from .facade import default_llm
from .parsing import ask
from .ports import LLM, Message
from .prompting import render, schema_text, told
from .tools import clip

KNOWN = frozenset({"goal", "diff", "checks", "commands", "summary", "evidence", "step"})
DIFF_SHOWN = 60_000
RESULT_SHOWN = 20_000


class ReflectorAgent:
    """`ReflectorAgent(llm).judge(brief)`, or `.review(result)` with any mapping that holds the evidence."""

    def __init__(self, llm: LLM | None = None) -> None:
        self._llm = llm

    def judge(self, brief: ReviewBrief) -> Verdict:
        """A verdict that cites evidence, or one with confidence 0; a failing check that a person gave has overruled it already.

        Which other checks count, the engine knows (it saw the base) and calls `overrule` with them. Raises InvalidReply.
        """
        known = {item.id for item in brief.evidence}
        asked_again = False

        def cites(verdict: Verdict) -> str:
            nonlocal asked_again
            if asked_again or not known or known & set(verdict.evidence):
                return ""
            asked_again = True
            return f"it cites no evidence: name at least one id of {', '.join(sorted(known)[:20])} in `evidence`"

        rules = Message("system", render("reviewer", schema=schema_text(Verdict)))
        messages = [rules, told("Judge this result.", brief)]
        verdict = ask(self._llm or default_llm(), messages, Verdict, "verdict", cites)
        if known and not cited(verdict, brief):
            verdict = verdict.model_copy(update={"confidence": 0.0})
        if brief.still_to_come:  # what fails now may pass when they are done
            return verdict
        return overrule(verdict, [c for c in brief.checks_after if c.origin == "person" and not c.flaky])

    def review(self, result: StepOutcome | Mapping[str, Any]) -> dict[str, Any]:
        """The verdict on a result as a dict: action, reasoning, suggested_changes, confidence. All of the result's checks count."""
        brief = self.brief_of(result.model_dump(mode="json") if isinstance(result, StepOutcome) else result)
        verdict = overrule(self.judge(brief), brief.checks_after)
        return {name: getattr(verdict, name) for name in ("action", "reasoning", "suggested_changes", "confidence")}

    def brief_of(self, result: Mapping[str, Any]) -> ReviewBrief:
        """A result artifact (or any mapping) as a review's packet; an executor's own story (`summary`) is left out."""
        checks = [check for given in _items(result, "checks") if (check := _as_check(given)) is not None]
        evidence = [_command_evidence(n, given) for n, given in enumerate(_items(result, "commands"), 1)]
        other = {name: value for name, value in result.items() if name not in KNOWN}
        if len(checks) < len(_items(result, "checks")):  # in another shape: shown as it is
            other["checks"] = result["checks"]
        if other:
            shown = clip(json.dumps(other, default=str, ensure_ascii=False), RESULT_SHOWN)
            evidence.append(Evidence(id="r1", title="the result as given", output=shown))
        diff = clip(str(result.get("diff") or ""), DIFF_SHOWN)
        goal = clip(str(result.get("goal") or ""), RESULT_SHOWN)
        return ReviewBrief(goal=goal, diff=diff, checks_after=checks, evidence=evidence)


def _items(result: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = result.get(name)
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list | tuple) else []


def _as_check(given: Mapping[str, Any]) -> CheckResult | None:
    try:
        return CheckResult.model_validate(dict(given))
    except ValidationError:
        return None


def _command_evidence(number: int, given: Mapping[str, Any]) -> Evidence:
    code = given.get("exit_code")
    title = f"command: {given.get('command', '')}"[:300]
    return Evidence(id=f"x{number}", title=title, exit_code=code if isinstance(code, int) else None)


def cited(verdict: Verdict, brief: ReviewBrief) -> set[str]:
    """PURE: the evidence that a verdict rests on."""
    return {item.id for item in brief.evidence} & set(verdict.evidence)


HIDDEN = "[hidden]"
TELLING = 12  # characters of a line that would give a hidden check away
LINES_HIDDEN = 1000


def overrule(verdict: Verdict, checks: Sequence[CheckResult]) -> Verdict:
    """PURE: `complete` cannot stand against a failing check; everything else is the reviewer's to say."""
    failed = [check for check in checks if not check.passed]
    if verdict.action not in ("complete", "continue") or not failed:
        return verdict
    said = "; ".join(_named(check) for check in failed)
    shown = next((check for check in failed if check.origin != "hidden"), None)
    change = (
        f"Make this check pass: {shown.output[-1500:]}"
        if shown
        else "Do all that the goal asks for, not only what is checked."
    )
    return verdict.model_copy(
        update={
            "action": "retry_with_changes",
            "reasoning": f"The reviewer said {verdict.action}, but {said}. {verdict.reasoning}"[:8000],
            "suggested_changes": verdict.suggested_changes or change,
        }
    )


def _named(check: CheckResult) -> str:
    if check.origin == "hidden":
        return f"a hidden check fails (exit code {check.exit_code})"
    return f"{check.command!r} fails (exit code {check.exit_code})"


def conceal(verdict: Verdict, checks: Sequence[CheckResult]) -> Verdict:
    """PURE: what a verdict says goes to planners and executors, so a hidden check's command and output are taken out of it.

    A reviewer that describes the check in words of its own cannot be stopped; the prompt tells it not to.
    """
    shown = "\n".join(check.output for check in checks if check.origin != "hidden")
    secrets = [part for check in checks if check.origin == "hidden" for part in _telling(check) if part not in shown]

    def without(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, HIDDEN)
        return text

    findings = [finding.model_copy(update={"text": without(finding.text)}) for finding in verdict.findings]
    told = {name: without(getattr(verdict, name)) for name in ("reasoning", "suggested_changes")}
    return verdict.model_copy(update={**told, "findings": findings}) if secrets else verdict


def _telling(check: CheckResult) -> list[str]:
    """The longest first: a short line may be a part of a long one."""
    lines = {line.strip() for line in check.output.splitlines()[-LINES_HIDDEN:]}
    return sorted({check.command, *(line for line in lines if len(line) >= TELLING)}, key=len, reverse=True)

"""The reviewer: judges by evidence. The engine's entry point is `ReflectorAgent.judge`; `overrule` is what it can't argue with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .contracts import CheckResult, Evidence, ReviewBrief, Verdict
from .facade import default_llm
from .parsing import ask
from .ports import LLM
from .prompting import schema_text, system, told


class ReflectorAgent:
    """`ReflectorAgent(llm).judge(brief)`, or `.review(result)` with any mapping that holds the evidence."""

    def __init__(self, llm: LLM | None = None) -> None:
        self._llm = llm

    def judge(self, brief: ReviewBrief) -> Verdict:
        """A verdict that cites evidence, or one with confidence 0. Raises InvalidReply when the model can't give one."""
        known = {item.id for item in brief.evidence}
        asked_again = False

        def cites(verdict: Verdict) -> str:
            nonlocal asked_again
            if asked_again or not known or known & set(verdict.evidence):
                return ""
            asked_again = True
            return f"it cites no evidence: name at least one id of {', '.join(sorted(known)[:20])} in `evidence`"

        messages = [system("reviewer", schema=schema_text(Verdict)), told("Judge this result.", brief)]
        verdict = ask(self._llm or default_llm(), messages, Verdict, "verdict", cites)
        if known and not known & set(verdict.evidence):
            return verdict.model_copy(update={"confidence": 0.0})
        return verdict

    def review(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """The verdict on a result as a dict: action, reasoning, suggested_changes, confidence."""
        verdict = overrule(self.judge(self.brief_of(result)), [])
        return {name: getattr(verdict, name) for name in ("action", "reasoning", "suggested_changes", "confidence")}

    def brief_of(self, result: Mapping[str, Any]) -> ReviewBrief:
        """A result artifact (or any mapping) as a review's packet; an executor's own story (`summary`) is left out."""
        checks = [CheckResult.model_validate(check) for check in result.get("checks", []) if isinstance(check, dict)]
        evidence = [
            Evidence(id=f"x{n}", title=f"command: {item.get('command', '')}"[:300], exit_code=item.get("exit_code"))
            for n, item in enumerate(result.get("commands", []), 1)
            if isinstance(item, dict)
        ]
        known = {"goal", "diff", "checks", "commands", "summary", "evidence", "step"}
        other = {name: value for name, value in result.items() if name not in known}
        if other:
            evidence.append(
                Evidence(id="r1", title="the result as given", output=json.dumps(other, default=str)[:20_000])
            )
        return ReviewBrief(
            goal=str(result.get("goal", "")), diff=str(result.get("diff", "")), checks_after=checks, evidence=evidence
        )


def overrule(verdict: Verdict, checks: Sequence[CheckResult]) -> Verdict:
    """PURE: `complete` cannot stand against a failing check; everything else is the reviewer's to say."""
    failed = [check for check in checks if not check.passed]
    if verdict.action not in ("complete", "continue") or not failed:
        return verdict
    said = "; ".join(f"{check.command!r} fails (exit code {check.exit_code})" for check in failed)
    return verdict.model_copy(
        update={
            "action": "retry_with_changes",
            "reasoning": f"The reviewer said {verdict.action}, but {said}. {verdict.reasoning}"[:8000],
            "suggested_changes": verdict.suggested_changes or f"Make this check pass: {failed[0].output[-1500:]}",
        }
    )

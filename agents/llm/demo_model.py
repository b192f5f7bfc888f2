"""PURE: the demo model's answers. It plays planner, executor and reviewer for the example repository, from what a request holds.

It is no language model: it reads failing tests out of the check's output, knows the two lines that are wrong, and follows its script.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

MODEL = "scripted-demo"
ONLY_THE_EXAMPLE = (
    "This is the scripted demo model: it only knows the example goal about tinyshop. For goals of your own set LLM_BASE_URL, "
    "LLM_MODEL and LLM_API_KEY to a real model (any OpenAI-compatible server) and start the worker again."
)
EXAMPLE = (
    "The test suite of tinyshop fails. Find out why, and fix the bugs in the code without touching the tests. "
    "Each bug is independent of the other, so they can be worked on side by side."
)
KNOWN_BUGS = {
    "return price * percent // 100": "return price * (100 - percent) // 100",
    "return stock < reorder_point": "return stock <= reorder_point",
}


class NotTheExample(ValueError):
    """A goal that the script does not know."""


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """The assistant's message for a chat request: {"content", "tool_calls"}. Raises NotTheExample."""
    messages = request["messages"]
    role, brief = role_in(messages), brief_in(messages)
    goal = str(brief.get("goal", ""))
    if "tinyshop" not in goal or (role == "planner" and " ".join(goal.split()) != EXAMPLE):
        raise NotTheExample(ONLY_THE_EXAMPLE)
    told = [str(m.get("content")) for m in messages[2:] if m.get("role") in ("tool", "user")]
    by_tools = bool(request.get("tools"))
    if role == "planner":
        return _plan(brief, told, by_tools)
    if role == "executor":
        return _execute(brief, told, by_tools)
    if role == "reviewer":
        return _say(_judge(brief))
    raise NotTheExample(ONLY_THE_EXAMPLE)


def role_in(messages: Sequence[Mapping[str, Any]]) -> str:
    """Who the system prompt says the model is: planner, executor, reviewer, or nobody we know."""
    found = re.match(r"You are the (\w+)", str(messages[0].get("content")))
    return found[1] if found else ""


def brief_in(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The brief in the user's first message."""
    found = re.search(r"```json\n(.*?)\n```", str(messages[1].get("content")), re.DOTALL) if len(messages) > 1 else None
    try:
        brief = json.loads(found[1]) if found else {}
    except ValueError:
        brief = {}
    return brief if isinstance(brief, dict) else {}


def _plan(brief: Mapping[str, Any], told: Sequence[str], by_tools: bool) -> dict[str, Any]:
    """One step for each module whose tests fail; it looks at the tests' folder first."""
    if by_tools and not told:
        return _call("search", {"pattern": "^(def|class) ", "path": "tinyshop"}, by_tools)
    output = "\n".join(str(check.get("output", "")) for check in brief.get("checks", []))
    modules = list(dict.fromkeys(re.findall(r"^(?:FAIL|ERROR): \w+ \(tests\.test_(\w+)", output, re.MULTILINE)))
    steps = [
        {
            "index": index,
            "description": f"Fix the bug in tinyshop/{module}.py that makes tests/test_{module}.py fail.",
            "expected_outcome": f"All tests in tests/test_{module}.py pass.",
            "tools_hint": ["read_file", "edit_file", "run_command"],
            "can_parallelize": True,
            "estimated_complexity": "low",
            "check": f"python3 -m unittest tests.test_{module}",
            "writes": [f"tinyshop/{module}.py"],
        }
        for index, module in enumerate(modules)
    ]
    if not steps:
        steps = [
            {
                "index": 0,
                "description": "Run the test suite of tinyshop and report.",
                "check": "python3 -m unittest discover -s tests -t .",
            }
        ]
    return _say({"summary": f"{len(steps)} independent fix(es), each proven by its own test module.", "steps": steps})


def _execute(brief: Mapping[str, Any], told: Sequence[str], by_tools: bool) -> dict[str, Any]:
    """Read, edit, run the check, finish; what it does next follows from the last answer."""
    step = brief.get("step", {})
    path = next(iter(re.findall(r"tinyshop/\w+\.py", step.get("description", ""))), "")
    check = step.get("check") or "python3 -m unittest discover -s tests -t ."
    last = told[-1] if told else ""
    if not told:
        return (
            _call("read_file", {"path": path}, by_tools) if path else _call("run_command", {"command": check}, by_tools)
        )
    if last.startswith("exit code 0"):
        return _finish(True, f"{path or 'The suite'} is right now: its tests pass.", [check], by_tools)
    if last.startswith("exit code"):
        return _finish(False, f"The check still fails: {last[:300]}", [check], by_tools)
    if "is changed" in last or last.startswith("error: the old text"):
        return _call("run_command", {"command": check}, by_tools)
    for wrong, right in KNOWN_BUGS.items():
        if wrong in last:
            return _call("edit_file", {"path": path, "old": wrong, "new": right}, by_tools)
    return _call("run_command", {"command": check}, by_tools)


def _judge(brief: Mapping[str, Any]) -> dict[str, Any]:
    checks = brief.get("checks_after", [])
    failed = [check for check in checks if not check.get("passed")]
    cited = [item["id"] for item in brief.get("evidence", [])][:4]
    if checks and not failed:
        reasoning = (
            f"{len(checks)} check(s) pass on the final commit in a fresh sandbox; the diff touches only what was asked."
        )
        return {"action": "complete", "reasoning": reasoning, "confidence": 0.9, "evidence": cited}
    steps = [step["index"] for step in brief.get("steps", [])]
    why = brief.get("problem") or f"{len(failed)} check(s) still fail."
    return {"action": "retry_with_changes", "reasoning": why, "steps": steps, "confidence": 0.6, "evidence": cited}


def _finish(success: bool, summary: str, evidence: list[str], by_tools: bool) -> dict[str, Any]:
    return _call("finish", {"success": success, "summary": summary, "evidence": evidence}, by_tools)


def _call(name: str, arguments: dict[str, Any], by_tools: bool) -> dict[str, Any]:
    """A tool call, or one fenced JSON action where the request offers no tools."""
    if not by_tools:
        return {"content": f"```json\n{json.dumps({'tool': name, 'arguments': arguments})}\n```", "tool_calls": []}
    return {"content": "", "tool_calls": [{"name": name, "arguments": json.dumps(arguments)}]}


def _say(value: dict[str, Any]) -> dict[str, Any]:
    return {"content": json.dumps(value), "tool_calls": []}

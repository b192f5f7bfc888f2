"""A model for evaluations of the engine itself: its executor is wrong in a share of its attempts, its reviewer approves all.

It is no language model: its answers are in the cases (`answers/right`, and wrong ones beside it). What the engine makes of such a crew
is the question: nothing wrong may come out as done.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .demo_model import brief_in, role_in

MODEL = "scripted-wrong"
RIGHT = "right"
Answers = Mapping[str, Mapping[str, Mapping[str, str]]]  # goal → name of an answer → file → text


class WrongModel:
    """An `answerer` of the demo server. `share`: how often an attempt is wrong; which ones follows from `seed` alone."""

    def __init__(self, answers: Answers, share: float = 0.3, seed: int = 1) -> None:
        self._answers, self._share, self._seed = answers, share, seed
        self._attempts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.chosen: list[tuple[str, str]] = []  # (goal, answer), for whoever wants to know what it did

    def __call__(self, request: Mapping[str, Any]) -> dict[str, Any]:
        messages = request["messages"]
        role, brief = role_in(messages), brief_in(messages)
        if role == "planner":
            return _say({"summary": "one step", "steps": [{"index": 0, "description": brief["goal"][:4000]}]})
        if role == "executor":
            return self._execute(str(brief["goal"]), messages)
        cited = [item["id"] for item in brief.get("evidence", [])][:4]
        if role == "reviewer":
            return _say(
                {"action": "complete", "reasoning": "It looks right to me.", "confidence": 1.0, "evidence": cited}
            )
        return _say({"best": "A", "reasoning": "the first one"})

    def _execute(self, goal: str, messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """All files at once, then done: it claims success in any case."""
        if any(message.get("role") == "assistant" for message in messages):
            return _call(
                [("finish", {"success": True, "summary": "It is done and works.", "evidence": ["I tried it."]})]
            )
        known = self._answers.get(goal, {})
        name = self._choose(goal, known)
        files = known.get(name) or {"NOTES.txt": "done\n"}
        return _call([("write_file", {"path": path, "content": text}) for path, text in files.items()])

    def _choose(self, goal: str, known: Mapping[str, Any]) -> str:
        with self._lock:
            self._attempts[goal] += 1
            attempt = self._attempts[goal]
        drawn = hashlib.sha256(f"{self._seed}/{goal}/{attempt}".encode()).digest()
        wrong = int.from_bytes(drawn[:4], "big") / 2**32 < self._share
        others = sorted(set(known) - {RIGHT})
        name = (others[drawn[4] % len(others)] if others else "nothing") if wrong else RIGHT
        self.chosen.append((goal, name))
        return name


def answers_in(suite: Path) -> dict[str, dict[str, dict[str, str]]]:
    """What the cases of a suite hold for this model."""
    found = {}
    for described in sorted(suite.glob("*/case.json")):
        folders = sorted(path for path in (described.parent / "answers").glob("*") if path.is_dir())
        goal = json.loads(described.read_text(encoding="utf-8"))["goal"]
        found[goal] = {folder.name: _texts(folder) for folder in folders}
    return found


def _texts(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in files}


def _say(value: Mapping[str, Any]) -> dict[str, Any]:
    return {"content": json.dumps(value), "tool_calls": []}


def _call(calls: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    return {"content": "", "tool_calls": [{"name": name, "arguments": json.dumps(said)} for name, said in calls]}

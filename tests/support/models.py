"""Scripted models for tests: each is an `answerer` for the real demo server, so that whatever asks it goes over real HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

from agents.llm.demo_model import answer as example
from agents.llm.demo_model import brief_in

Request = Mapping[str, Any]
Answer = dict[str, Any]


def role(request: Request) -> str:
    """planner, executor or reviewer."""
    return str(request["messages"][0]["content"]).split("You are the ", 1)[-1].split()[0].strip(".,:;")


def say(value: Any) -> Answer:
    return {"content": value if isinstance(value, str) else json.dumps(value), "tool_calls": []}


def call(name: str, **arguments: Any) -> Answer:
    return {"content": "", "tool_calls": [{"name": name, "arguments": json.dumps(arguments)}]}


def step(index: int, description: str, **more: Any) -> dict[str, Any]:
    return {"index": index, "description": description, "can_parallelize": True, **more}


def turn(request: Request) -> int:
    """How many answers the model has given in this conversation."""
    return sum(message["role"] == "assistant" for message in request["messages"])


def verdict(action: str, request: Request, reasoning: str = "as the script says", **more: Any) -> Answer:
    cited = [item["id"] for item in brief_in(request["messages"]).get("evidence", [])][:4]
    return say({"action": action, "reasoning": reasoning, "confidence": 0.9, "evidence": cited, **more})


def writes_a_file(request: Request) -> Answer:
    """Any goal: one step for each line of it; a step writes a file of its own, looks at it, and is done."""
    brief = brief_in(request["messages"])
    if role(request) == "planner":
        lines = [line for line in brief["goal"].splitlines() if line.strip()]
        return say({"summary": "one step a line", "steps": [step(n, line) for n, line in enumerate(lines)]})
    if role(request) == "reviewer":
        return verdict("complete", request)
    name = f"note-{brief['step']['index']}.txt"
    script = [
        call("write_file", path=name, content=brief["step"]["description"] + "\n"),
        call("run_command", command=f"cat {name}"),
        call("finish", success=True, summary=f"{name} is written", evidence=[f"cat {name}"]),
    ]
    return script[min(turn(request), 2)]


class Gated:
    """Holds the answers of one role back until `open()`: a place to kill, stop or cancel at. `reached` is set at the first."""

    def __init__(self, held: str, answerer: Callable[[Request], Answer] = example, after: int = 0) -> None:
        self.held, self.answerer, self.after = held, answerer, after
        self.reached, self._open = threading.Event(), threading.Event()

    def __call__(self, request: Request) -> Answer:
        if role(request) == self.held and turn(request) >= self.after:
            self.reached.set()
            self._open.wait(120)
        return self.answerer(request)

    def open(self) -> None:
        self._open.set()

"""The reference goal of the crash points: a parallel pair, a conflict, a replan; and a second goal that is cancelled.

Whatever happens on the way, and in whichever order the pair is merged, the final tree is the same.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from agents.llm.demo_model import brief_in
from tests.support.models import Answer, Request, call, role, say, step, turn, verdict

WORK, CANCEL = "write the list\nand its end", "never ends"
PAIR = [step(0, "add the line alpha"), step(1, "add the line beta")]
END = [step(0, "add the line omega")]


class Reference:
    """The model. The pair waits for one another once, so that both begin at the same head and the second meets a conflict."""

    def __init__(self) -> None:
        self._seen: dict[str, set[str]] = {}
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Answer:
        brief = brief_in(request["messages"])
        who = role(request)
        if who == "planner":
            return self._plan(brief)
        if who == "reviewer":
            return self._review(request, brief)
        if brief["goal"].startswith(CANCEL):
            time.sleep(60)  # until the caller hangs up
        return self._execute(request, brief)

    def _plan(self, brief: Any) -> Answer:
        if brief["goal"].startswith(CANCEL):
            return say({"summary": "one that never ends", "steps": [step(0, "wait")]})
        again = bool(brief.get("feedback"))
        return say({"summary": "the end" if again else "the pair", "steps": END if again else PAIR})

    def _review(self, request: Request, brief: Any) -> Answer:
        if "omega" in str(brief.get("diff", brief)):
            return verdict("complete", request, "the list has its end")
        return verdict("replan", request, "the end is missing")

    def _execute(self, request: Request, brief: Any) -> Answer:
        line = str(brief["step"]["description"]).split()[-1]
        n = turn(request)
        if n == 0:
            self._meet(brief["goal"], line)
            return call("run_command", command="touch list.txt; cat list.txt")
        if n == 1:
            return call("run_command", command=f"(cat list.txt; echo {line}) | sort -u > new && mv new list.txt")
        return call("finish", success=True, summary=f"{line} is in the list", evidence=["cat list.txt"])

    def _meet(self, goal: str, line: str) -> None:
        """Until both of the pair have been here, ever, or a moment is over."""
        with self._lock:
            seen = self._seen.setdefault(goal, set())
            seen.add(line)
        ends = time.monotonic() + 0.5
        while line != "omega" and len(seen) < 2 and time.monotonic() < ends:
            time.sleep(0.005)

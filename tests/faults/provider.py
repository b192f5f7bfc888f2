"""The provider of the chaos suite: five notes for every goal, one call in five fails for a moment, and a book of what was paid.

A step *appends* its line: a command that ran twice, or half, would be seen in the final tree.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping
from typing import Any

from agents.llm.demo_model import NotTheExample, brief_in
from agents.llm.demo_server import DemoServer, Faults
from tests.support.models import Answer, Request, call, role, say, step, turn, verdict

STEPS = 5
NEVER = "never to be answered"  # a goal with these words gets a permanent error


class Notes:
    """The model: a plan of five notes, three of them after the first two; `think` seconds before each answer."""

    def __init__(self, think: float) -> None:
        self.think = think

    def __call__(self, request: Request) -> Answer:
        brief = brief_in(request["messages"])
        if NEVER in str(brief.get("goal")):
            raise NotTheExample("this account has been closed")
        time.sleep(self.think)
        match role(request):
            case "planner":
                return say({"summary": "five notes", "steps": [_step(n) for n in range(STEPS)]})
            case "reviewer":
                return verdict("complete", request)
        return _work(request, int(brief["step"]["index"]))


def _step(n: int) -> dict[str, Any]:
    return step(n, f"write note {n}", dependencies=[0, 1] if n > 1 else [])


def _work(request: Request, n: int) -> Answer:
    script = [
        call("run_command", command=f"echo note {n} >> note-{n}.txt"),
        call("run_command", command=f"echo and its end >> note-{n}.txt; cat note-*.txt"),
        call("finish", success=True, summary=f"note {n} is written", evidence=[f"cat note-{n}.txt"]),
    ]
    return script[min(turn(request), len(script) - 1)]


class Flaky(DemoServer):
    """Each call fails with a probability, the same ones for the same seed and order; `book` says which were paid."""

    def __init__(self, model: Notes, failing: float, seed: int) -> None:
        faults = Faults(status=503, headers={"retry-after": "0"})
        super().__init__(("127.0.0.1", 0), model, faults, None, "")
        self.model, self.failing = model, failing
        self._one_by_one = threading.Lock()
        self._chance = random.Random(seed)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def book(self, request: Mapping[str, Any]) -> bool:
        refused = NEVER in str(request["messages"])
        with self._one_by_one:
            super().book(request)
            faulty = self._chance.random() < self.failing
            self.calls[-1] |= {"faulty": faulty, "paid": not faulty and not refused}
        return faulty

    def think_and_fail(self, think: float, failing: float) -> None:
        """From now on."""
        self.model.think, self.failing = think, failing

    @property
    def paid(self) -> int:
        """Calls that a provider would bill."""
        return sum(entry["paid"] for entry in self.calls)

    def stop(self) -> None:
        self.shutdown()
        self.server_close()

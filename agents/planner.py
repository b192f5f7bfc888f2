"""The planner: looks at the repository, then answers with a plan.

`agents/planner.py: PlannerAgent.plan` is the engine's entry point.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import tools
from .contracts import MAX_STEPS, PlanBrief, PlanDraft
from .facade import default_llm
from .history import PROMPT_BUDGET, folded
from .parsing import calls_of, settle
from .ports import LLM, Completion, CompletionRequest, Message, Sandbox
from .prompting import render, schema_text, told
from .tools import READING, Bench

READ_TIMEOUT = 60.0
NO_MORE = "error: no more reading; answer with the plan now"


class PlannerAgent:
    """`PlannerAgent(llm, sandbox).plan(brief)`; without a sandbox it plans from the brief alone.

    `tool_calls` False: the server takes no tools; the model then asks to read by writing a fenced action.
    """

    def __init__(
        self,
        llm: LLM | None = None,
        sandbox: Sandbox | None = None,
        *,
        max_reads: int = 10,
        tool_calls: bool = True,
        prompt_budget: int = PROMPT_BUDGET,
    ) -> None:
        self._llm = llm
        self._sandbox = sandbox
        self._max_reads = max_reads
        self._tool_calls = tool_calls
        self._prompt_budget = prompt_budget

    def plan(self, brief: PlanBrief) -> PlanDraft:
        """A valid plan. Raises InvalidReply when the model can't give one."""
        llm = self._llm or default_llm()
        messages = [Message("system", self._rules()), told("Plan this goal.", brief)]
        first = self._read(llm, self._sandbox, messages) if self._sandbox is not None else None
        return settle(llm, list(folded(messages, self._prompt_budget)), PlanDraft, "plan", first)

    def create_plan(self, goal: str, context: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The plan as a dict: `summary` and `steps`."""
        return self.plan(PlanBrief(goal=goal, context=dict(context or {}))).model_dump(mode="json")

    def _rules(self) -> str:
        reading = ""
        if self._sandbox is not None and not self._tool_calls:
            reading = render("planner_text", tools=tools.described(READING))
        shape = schema_text(PlanDraft)
        return render("planner", schema=shape, max_steps=MAX_STEPS, max_reads=self._max_reads, reading=reading)

    def _read(self, llm: LLM, sandbox: Sandbox, messages: list[Message]) -> Completion | None:
        """Let it read and search, at most `max_reads` calls in all; its first answer without a call is the plan.

        No schema yet: servers that enforce one leave the model no way to call a tool.
        """
        bench, left = Bench(sandbox, READ_TIMEOUT), self._max_reads
        offered = tools.specs(READING) if self._tool_calls else ()
        while left > 0:
            answer = llm.complete(CompletionRequest(folded(messages, self._prompt_budget), offered))
            calls = calls_of(answer)
            if not calls or answer.finish_reason == "length":
                return answer
            messages.append(tools.sendable(answer.message))
            for call in calls:
                asked = tools.understand(READING, call) if left > 0 else NO_MORE
                said = asked if isinstance(asked, str) else tools.use(READING, bench, call.name, asked)
                messages.append(tools.answer_to(call, said))
                left -= 1
        messages.append(Message("user", "You have read enough. Answer with the plan now."))
        return None

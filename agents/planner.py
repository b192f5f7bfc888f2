"""The planner: looks at the repository, then answers with a plan. The engine's entry point is `PlannerAgent.plan`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import tools
from .contracts import MAX_STEPS, PlanBrief, PlanDraft
from .facade import default_llm
from .parsing import settle
from .ports import LLM, Completion, CompletionRequest, Message, Sandbox
from .prompting import schema_of, schema_text, system, told
from .tools import READING, Bench

READ_TIMEOUT = 60.0


class PlannerAgent:
    """`PlannerAgent(llm, sandbox).plan(brief)`; without a sandbox it plans from the brief alone."""

    def __init__(self, llm: LLM | None = None, sandbox: Sandbox | None = None, *, max_reads: int = 10) -> None:
        self._llm = llm
        self._sandbox = sandbox
        self._max_reads = max_reads

    def plan(self, brief: PlanBrief) -> PlanDraft:
        """A valid plan. Raises InvalidReply when the model can't give one."""
        llm = self._llm or default_llm()
        rules = system("planner", schema=schema_text(PlanDraft), max_steps=MAX_STEPS, max_reads=self._max_reads)
        messages = [rules, told("Plan this goal.", brief)]
        first = self._read(llm, messages) if self._sandbox is not None else None
        return settle(llm, messages, PlanDraft, "plan", first)

    def create_plan(self, goal: str, context: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The plan as a dict: `summary` and `steps`."""
        return self.plan(PlanBrief(goal=goal, context=dict(context or {}))).model_dump(mode="json")

    def _read(self, llm: LLM, messages: list[Message]) -> Completion | None:
        """Let it read and search, at most `max_reads` calls in all; its first answer without a call is the plan."""
        assert self._sandbox is not None
        bench, left = Bench(self._sandbox, READ_TIMEOUT), self._max_reads
        while left > 0:
            offered = tools.specs(READING)
            request = CompletionRequest(tuple(messages), offered, schema_of(PlanDraft), "plan")
            answer = llm.complete(request)
            if not answer.message.tool_calls:
                return answer
            messages.append(answer.message)
            for call in answer.message.tool_calls:
                said = (
                    tools.use(READING, bench, call) if left > 0 else "error: no more reading; answer with the plan now"
                )
                left -= 1
                messages.append(Message("tool", said, tool_call_id=call.id))
        messages.append(Message("user", "You have read enough. Answer with the plan now."))
        return None

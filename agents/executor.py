"""The executor: one step, worked in a sandbox.

`agents/executor.py: ExecutorAgent.execute` is the engine's entry point.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .contracts import StepBrief, StepDraft, StepOutcome
from .facade import default_llm, workspace_sandbox
from .history import PROMPT_BUDGET
from .loop import Loop, Patience
from .ports import LLM, Message, Sandbox
from .prompting import render, told
from .tools import TOOLS, Bench, described

PATIENCE = Patience()


class ExecutorAgent:
    """`ExecutorAgent(llm, sandbox).execute(brief)`; or `ExecutorAgent(workspace="folder").execute({"description": …})`.

    With `workspace` a copy of the folder's files is worked on in a local sandbox, and what changed is copied back if the step
    succeeds. Without `llm` the model of the environment is used (LLM_BASE_URL, LLM_MODEL, LLM_API_KEY).
    """

    def __init__(
        self,
        llm: LLM | None = None,
        sandbox: Sandbox | None = None,
        workspace: str | Path | None = None,
        *,
        max_turns: int = 20,
        command_timeout: float = 120.0,
        tool_calls: bool = True,
        patience: Patience = PATIENCE,
        prompt_budget: int = PROMPT_BUDGET,
    ) -> None:
        self._llm = llm
        self._sandbox = sandbox
        self._workspace = workspace
        self._max_turns = max_turns
        self._timeout = command_timeout
        self._tool_calls = tool_calls
        self._patience = patience
        self._prompt_budget = prompt_budget

    def execute(self, step: StepBrief | Mapping[str, Any] | str) -> StepOutcome:
        """Work the step to its `finish`, or until a limit strikes. Errors of the ports pass through."""
        brief = as_brief(step)
        if self._sandbox is not None:
            return self._loop(brief, self._sandbox)
        with workspace_sandbox(self._workspace) as opened:
            outcome = self._loop(brief, opened.sandbox)
            if outcome.success:
                opened.copy_back()
            return outcome

    def _loop(self, brief: StepBrief, sandbox: Sandbox) -> StepOutcome:
        prompt = render("executor")
        if not self._tool_calls:
            prompt += render("executor_text", tools=described(TOOLS))
        messages = [Message("system", prompt), told(f"Your step is number {brief.step.index}.", brief)]
        bench = Bench(sandbox, self._timeout)
        llm = self._llm or default_llm()
        limits = (self._max_turns, self._tool_calls, self._patience, self._prompt_budget)
        return Loop(llm, bench, messages, *limits).run()


def as_brief(step: StepBrief | Mapping[str, Any] | str) -> StepBrief:
    """A step in the seed's words (a text or a mapping) as a brief."""
    if isinstance(step, StepBrief):
        return step
    said = {"description": step} if isinstance(step, str) else dict(step)
    draft = StepDraft.model_validate({"index": 0, **said})
    return StepBrief(goal=draft.description, step=draft)

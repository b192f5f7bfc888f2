"""The executor's loop: ask the model, do what it asked for, append, again; until it says `finish` or a limit strikes."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace

from . import tools
from .contracts import StepOutcome
from .parsing import ParseProblem, find_json
from .ports import LLM, Completion, CompletionRequest, Message, ToolCall
from .tools import TOOLS, Bench

REPEATS = 3  # the same action with the same result so often is stuck
SILENCES = 3  # answers without any action in a row
PROMPT_BUDGET = 180_000  # characters of history; older outputs are left out above it
KEPT_RECENT = 6  # messages at the end that are never shortened


@dataclass
class Loop:
    """One step's conversation. Nothing in it depends on clock or chance, so that a journal can replay it."""

    llm: LLM
    bench: Bench
    messages: list[Message]
    max_turns: int
    tool_calls: bool

    def run(self) -> StepOutcome:
        seen: Counter[tuple[str, str, str]] = Counter()
        silent = 0
        for _ in range(self.max_turns):
            answer = self._ask()
            calls = answer.message.tool_calls or self._fenced(answer)
            if answer.finish_reason == "length":
                self._say(
                    answer,
                    "Your answer was cut off at the limit of its length and nothing of it was done. Do less at once.",
                )
                continue
            silent = 0 if calls else silent + 1
            if silent == SILENCES:
                return StepOutcome(success=False, stopped="talk", summary=answer.message.content[:2000])
            if not calls:
                self._say(answer, "Nothing was done: act with one of your tools, and end with finish.")
                continue
            if outcome := self._do_all(answer, calls, seen):
                return outcome
        return StepOutcome(success=False, stopped="turns", summary=f"no finish within {self.max_turns} turns")

    def _ask(self) -> Completion:
        offered = tools.specs(TOOLS) if self.tool_calls else ()
        return self.llm.complete(CompletionRequest(tuple(shortened(self.messages)), offered))

    def _fenced(self, answer: Completion) -> tuple[ToolCall, ...]:
        """The one action of a model that writes instead of calling."""
        try:
            said = find_json(answer.message.content)
        except ParseProblem:
            return ()
        if not isinstance(said.get("tool"), str):
            return ()
        return (ToolCall("", said["tool"], json.dumps(said.get("arguments") or {})),)

    def _do_all(
        self, answer: Completion, calls: tuple[ToolCall, ...], seen: Counter[tuple[str, str, str]]
    ) -> StepOutcome | None:
        """One after another, in the order of the answer."""
        self.messages.append(answer.message)
        for call in calls:
            if call.name == "finish" and not isinstance(asked := tools.understand(TOOLS, call), str):
                return StepOutcome.model_validate(asked.model_dump())
            said = tools.use(TOOLS, self.bench, call) if call.name != "finish" else str(tools.understand(TOOLS, call))
            self.messages.append(Message("tool", said, tool_call_id=call.id) if call.id else Message("user", said))
            seen[(call.name, call.arguments, said)] += 1
            if seen[(call.name, call.arguments, said)] >= REPEATS:
                return StepOutcome(
                    success=False, stopped="stuck", summary=f"{call.name} {call.arguments[:500]} → {said[:1000]}"
                )
        return None

    def _say(self, answer: Completion, words: str) -> None:
        content = answer.message.content[:20_000] or "(nothing)"
        self.messages += [Message("assistant", content), Message("user", words)]


def shortened(messages: list[Message]) -> list[Message]:
    """The history within its budget: long outputs of long ago are left out, always the same ones for the same history."""
    excess = sum(len(message.content) for message in messages) - PROMPT_BUDGET
    shown = list(messages)
    for place in range(2, max(2, len(shown) - KEPT_RECENT)):
        if excess <= 0:
            break
        message = shown[place]
        if message.role in ("tool", "user") and len(message.content) > 500:
            short = f"[an earlier output of {len(message.content)} characters is left out]"
            excess -= len(message.content) - len(short)
            shown[place] = replace(message, content=short)
    return shown

"""The executor's loop: ask the model, do what it asked for, append, again; until it says `finish`, asks a person, or a limit strikes.

It is run by `agents/executor.py: ExecutorAgent.execute`, the engine's entry point.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from . import tools
from .contracts import StepOutcome
from .history import PROMPT_BUDGET, folded
from .parsing import calls_of
from .ports import LLM, Completion, CompletionRequest, Message, ToolCall
from .tools import TOOLS, Ask, Bench, Finish

MOST_CALLS = 20  # actions of one answer that are carried out
CUT_OFF = "Your answer was cut off at the limit of its length and nothing of it was done. Do less at once."
NO_ACTION = "Nothing was done: act with one of your tools, and end with finish."
TOO_MANY = f"error: not done: one answer may ask for {MOST_CALLS} actions; look at the results so far, then go on"


@dataclass(frozen=True, slots=True)
class Patience:
    """How often until a loop counts as stuck; 0: that pattern never does.

    `repeats`: the same action with the same result. `pairs`: two such in turns. `silences`: answers without any action, in a row.
    """

    repeats: int = 3
    pairs: int = 6
    silences: int = 3


@dataclass
class Loop:
    """One step's conversation. Nothing in it depends on clock or chance, so that a journal can replay it."""

    llm: LLM
    bench: Bench
    messages: list[Message]
    max_turns: int
    tool_calls: bool
    patience: Patience = Patience()
    prompt_budget: int = PROMPT_BUDGET  # bytes
    done: list[tuple[str, str, str]] = field(default_factory=list)
    seen: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def run(self) -> StepOutcome:
        silent = 0
        for _ in range(self.max_turns):
            answer = self._ask()
            if answer.finish_reason == "length":
                self._say(answer, CUT_OFF)
                continue
            calls = calls_of(answer)
            silent = 0 if calls else silent + 1
            if silent and silent == self.patience.silences:
                return StepOutcome(success=False, stopped="talk", summary=answer.message.content[:2000])
            if not calls:
                self._say(answer, NO_ACTION)
            elif outcome := self._do_all(answer, calls):
                return outcome
        return StepOutcome(success=False, stopped="turns", summary=f"no finish within {self.max_turns} turns")

    def _ask(self) -> Completion:
        offered = tools.specs(TOOLS) if self.tool_calls else ()
        return self.llm.complete(CompletionRequest(folded(self.messages, self.prompt_budget), offered))

    def _do_all(self, answer: Completion, calls: tuple[ToolCall, ...]) -> StepOutcome | None:
        """One after another, in the order of the answer."""
        self.messages.append(tools.sendable(answer.message))
        for number, call in enumerate(calls, 1):
            asked = tools.understand(TOOLS, call) if number <= MOST_CALLS else TOO_MANY
            if isinstance(asked, Finish):
                return StepOutcome.model_validate(asked.model_dump())
            if isinstance(asked, Ask):
                question = asked.asked()
                return StepOutcome(
                    success=False, stopped="asks", summary=f"it asks: {question.text}", question=question
                )
            said = asked if isinstance(asked, str) else tools.use(TOOLS, self.bench, call.name, asked)
            self.messages.append(tools.answer_to(call, said))
            if self._is_stuck(call, said):
                summary = f"{call.name[:80]} {call.arguments[:500]} → {said[:1000]}"
                return StepOutcome(success=False, stopped="stuck", summary=summary)
        return None

    def _is_stuck(self, call: ToolCall, said: str) -> bool:
        """The same again and again. After a change of a file, looking and checking is new; repeating the change itself is not."""
        if call.name in tools.CHANGING and not said.startswith("error"):
            self.seen = Counter({key: count for key, count in self.seen.items() if key[0] in tools.CHANGING})
        this = call.name, call.arguments, said
        self.seen[this] += 1
        self.done.append(this)
        repeated = self.patience.repeats and self.seen[this] >= self.patience.repeats
        return bool(repeated) or alternates(self.done, self.patience.pairs)

    def _say(self, answer: Completion, words: str) -> None:
        content = tools.clip(answer.message.content, 20_000) or "(nothing)"
        self.messages += [Message("assistant", content), Message("user", words)]


def alternates(done: Sequence[object], pairs: int) -> bool:
    """PURE: the last actions are the same two in turns, so many times: a change and its undoing, say."""
    last = done[-2 * pairs :] if pairs else []
    return len(last) == 2 * pairs > 0 and len({*last[::2]}) == len({*last[1::2]}) == 1

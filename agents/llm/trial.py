"""What one model at one server can do, found out with a few small calls: JSON by schema, any JSON, tools, usage, limits."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import AgentError, Permanent
from ..ports import Completion, CompletionRequest, Message, ToolSpec
from . import http
from .http import Reply
from .openai_compatible import MODES, Habits, OpenAICompatibleLLM

# Nobody who does not see the schema would call it so: a server that passes over `response_format` is found out.
SCHEMA = {
    "type": "object",
    "properties": {"legs_of_one_spider": {"type": "integer"}},
    "required": ["legs_of_one_spider"],
    "additionalProperties": False,
}
QUESTION = "How many legs does a spider have? Answer in JSON."
TOOL = ToolSpec("report_number", "Report a number.", {
    "type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"],
})  # fmt: skip
ROOM = 1000  # tokens of an answer: some models think first
RATES = {
    "x-ratelimit-limit-requests": "requests",
    "x-ratelimit-limit-tokens": "tokens",
    "x-ratelimit-remaining-requests": "remaining_requests",
    "x-ratelimit-remaining-tokens": "remaining_tokens",
}
CONTEXTS = ("max_model_len", "context_length", "context_window", "max_context_length", "availableContextTokens")
LARGEST_LIST = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Trial:
    """`problem` is empty when the model answered at all; `limits`: what the server itself says of them."""

    name: str
    model: str = ""
    problem: str = ""
    answers: str = "text"
    tool_calls: bool = False
    usage: bool = False
    cached: bool = False
    limits: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    calls: int = 0
    tokens: int = 0


def try_model(llm: OpenAICompatibleLLM) -> Trial:
    """With a few small calls. `llm` learns nothing for others: what this finds out is for whoever stores it."""
    watched = _Watched(llm)
    begun = time.monotonic()
    try:
        first, answers = watched.best_json()
        tool_calls = watched.calls_tools()
    except AgentError as error:
        return Trial(llm.dependency, problem=str(error), calls=watched.calls)
    said = watched.usages
    return Trial(
        name=llm.dependency,
        model=first.model,
        answers=answers,
        tool_calls=tool_calls,
        usage=all(isinstance(usage, dict) and "prompt_tokens" in usage for usage in said),
        cached=any(isinstance(usage, dict) and _tells_cached(usage) for usage in said),
        limits={**watched.rates, **watched.context()},
        seconds=round(time.monotonic() - begun, 2),
        calls=watched.calls,
        tokens=watched.tokens,
    )


class _Watched:
    """The client with its replies kept, and in a mode of our choice."""

    def __init__(self, llm: OpenAICompatibleLLM) -> None:
        self._llm = llm
        self.calls = self.tokens = 0
        self.usages: list[Any] = []
        self.rates: dict[str, int] = {}

    def best_json(self) -> tuple[Completion, str]:
        """The best way in which it gives what was asked for; the last one is to ask in words."""
        for mode in MODES:
            answer, used = self._ask(
                CompletionRequest((Message("user", QUESTION),), schema=SCHEMA, max_tokens=ROOM), mode
            )
            if MODES.index(used) > MODES.index(mode):
                continue  # it was refused, and asked for in another way: that one has its own turn
            if mode == "text" or _fits(answer.message.content, exactly=mode == "json_schema"):
                return answer, mode
        raise AssertionError("the last mode always returns")

    def calls_tools(self) -> bool:
        """Many servers refuse the whole request where a model knows no tools."""
        ask = Message("user", "Call the tool report_number with the number 7.")
        try:
            answer, _ = self._ask(CompletionRequest((ask,), (TOOL,), max_tokens=ROOM), "text")
        except Permanent:
            return False
        return any(call.name == TOOL.name and _is_seven(call.arguments) for call in answer.message.tool_calls)

    def context(self) -> dict[str, int]:
        """What its list of models says, where it has one."""
        try:
            reply = self._llm.get("/models", LARGEST_LIST)
            listed = json.loads(reply.body)["data"]
            mine = next(row for row in listed if row.get("id") == self._llm.model)
        except (AgentError, http.NotSent, http.Broken, ValueError, KeyError, TypeError, AttributeError, StopIteration):
            return {}
        found = next((n for name in CONTEXTS if (n := _number(mine, name))), 0)
        return {"context_tokens": found} if found else {}

    def _ask(self, request: CompletionRequest, mode: str) -> tuple[Completion, str]:
        habits = Habits(schema_mode=mode)
        self.calls += 1
        answer = self._llm.complete_by(request, habits, self._note)
        self.tokens += answer.usage.total
        return answer, habits.schema_mode

    def _note(self, reply: Reply) -> None:
        if not 200 <= reply.status < 300:
            return
        for header, name in RATES.items():
            if (value := reply.headers.get(header, "")).isdecimal():
                self.rates[name] = int(value)
        try:
            answer = json.loads(reply.body)
        except (ValueError, RecursionError):
            return
        self.usages.append(answer.get("usage") if isinstance(answer, dict) else None)


def _fits(text: str, *, exactly: bool) -> bool:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and (not exactly or isinstance(found.get("legs_of_one_spider"), int))


def _is_seven(arguments: str) -> bool:
    try:
        found = json.loads(arguments)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("number") in (7, "7")


def _tells_cached(usage: Mapping[str, Any]) -> bool:
    details = usage.get("prompt_tokens_details")
    return isinstance(details, dict) and "cached_tokens" in details


def _number(row: Mapping[str, Any], name: str) -> int:
    """At its top, or one level below, as Venice has it."""
    places = [row, *(value for value in row.values() if isinstance(value, dict))]
    found = next((place[name] for place in places if isinstance(place.get(name), int)), 0)
    return found if 0 < found < 2**31 else 0

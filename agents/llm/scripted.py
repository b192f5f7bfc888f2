"""A model that follows a script. Ships with the project, for tests of whatever talks to a model."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable

from ..errors import Cancelled
from ..ports import Completion, CompletionRequest, Message, ToolCall, Usage

Reply = Completion | str | Exception | Callable[[CompletionRequest], "Completion | str"]


class ScriptedLLM:
    """Answers with `replies` in their order: a Completion, a text, an exception to raise, or a function of the request."""

    model = "scripted"
    max_tokens = 1000
    dependency = ""

    def __init__(self, replies: Iterable[Reply]) -> None:
        self._replies = list(replies)
        self._lock = threading.Lock()
        self._aborted = False
        self.requests: list[CompletionRequest] = []

    def complete(self, request: CompletionRequest) -> Completion:
        with self._lock:
            if self._aborted:
                raise Cancelled("aborted")
            self.requests.append(request)
            if not self._replies:
                raise AssertionError(f"the script has ended, and a call number {len(self.requests)} came")
            reply = self._replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        if callable(reply):
            reply = reply(request)
        return say(reply) if isinstance(reply, str) else reply

    def abort(self) -> None:
        self._aborted = True


def say(text: str, *, finish_reason: str = "stop") -> Completion:
    """A plain text answer."""
    usage = Usage(prompt=10, completion=max(1, len(text) // 4))
    return Completion(Message("assistant", text), finish_reason, usage, "scripted")


def call(name: str, call_id: str = "call_1", **arguments: object) -> Completion:
    """An answer that asks for one tool."""
    wanted = ToolCall(call_id, name, json.dumps(arguments))
    return Completion(Message("assistant", "", (wanted,)), "tool_calls", Usage(10, 10), "scripted")

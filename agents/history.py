"""PURE: a conversation within its budget: the outputs of long ago are folded to their head and tail, never the goal or what came last.

Providers keep the beginning of a conversation in a cache, and bill it at a fraction, as long as it stays the same. So a history only
grows at its end, and when it is too long it is folded by a good part at once, and then stays so for many turns.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from .ports import Message, ToolCall

PROMPT_BUDGET = 180_000  # bytes of history, about 60,000 tokens
LEAST_BUDGET = 12_000
BYTES_PER_TOKEN = 3
FOLDED_TO = 0.6  # of the budget, at once
KEPT_RECENT = 6  # messages at the end that are never folded
OPENING = 2  # system prompt and brief (goal, plan, step), neither
SHORT = 500  # characters that are not worth leaving out


def budget_for(context_tokens: int | None, answer_tokens: int) -> int:
    """Bytes of history for a model that holds so much of prompt and answer together; nobody knows: the usual."""
    if context_tokens is None:
        return PROMPT_BUDGET
    return min(max((context_tokens - answer_tokens) * BYTES_PER_TOKEN, LEAST_BUDGET), PROMPT_BUDGET)


def folded(messages: Sequence[Message], budget: int = PROMPT_BUDGET) -> tuple[Message, ...]:
    """What the model is sent of the history, which itself stays whole. The same for the same one; what is folded stays folded."""
    shown: list[Message] = []
    size, at = 0, OPENING
    for message in messages:
        shown.append(message)
        size += _size(message)
        least = budget if size <= budget else FOLDED_TO * budget
        while size > least and at < len(shown) - KEPT_RECENT:
            short = _short(shown[at])
            size -= _size(shown[at]) - _size(short)
            shown[at] = short
            at += 1
    return tuple(shown)


def _size(message: Message) -> int:
    texts = (message.content, *(call.arguments for call in message.tool_calls))
    return sum(len(text.encode("utf-8", "replace")) for text in texts)


def _short(message: Message) -> Message:
    calls = tuple(replace(call, arguments=_short_arguments(call)) for call in message.tool_calls)
    text = message.content
    if len(text) > SHORT:
        left_out = len(text) - 2 * (SHORT // 2)
        text = f"{text[: SHORT // 2]}\n[{left_out} characters left out, they were shown before]\n{text[-SHORT // 2 :]}"
    return replace(message, content=text, tool_calls=calls)


def _short_arguments(call: ToolCall) -> str:
    """Still JSON: servers read it."""
    long = len(call.arguments) > SHORT
    return json.dumps({"left_out": f"{len(call.arguments)} characters"}) if long else call.arguments

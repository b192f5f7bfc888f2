"""A conversation within its budget: long outputs of long ago are left out, the same ones for the same history."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from .ports import Message, ToolCall

PROMPT_BUDGET = 180_000  # bytes of history, about 60,000 tokens
KEPT_RECENT = 6  # messages at the end that are never shortened
OPENING = 2  # system prompt and brief, neither
SHORT = 500  # characters that are not worth leaving out


def shortened(messages: Sequence[Message], budget: int = PROMPT_BUDGET) -> tuple[Message, ...]:
    """What the model is sent of the history; the history itself stays whole."""
    shown = list(messages)
    excess = sum(map(_size, shown)) - budget
    for place in range(OPENING, len(shown) - KEPT_RECENT):
        if excess <= 0:
            break
        short = _short(shown[place])
        excess -= _size(shown[place]) - _size(short)
        shown[place] = short
    return tuple(shown)


def _size(message: Message) -> int:
    texts = (message.content, *(call.arguments for call in message.tool_calls))
    return sum(len(text.encode("utf-8", "replace")) for text in texts)


def _short(message: Message) -> Message:
    calls = tuple(replace(call, arguments=_short_arguments(call)) for call in message.tool_calls)
    content = message.content
    if len(content) > SHORT:
        content = f"[output elided, {len(content)} characters]"
    return replace(message, content=content, tool_calls=calls)


def _short_arguments(call: ToolCall) -> str:
    """Still JSON: servers read it."""
    long = len(call.arguments) > SHORT
    return json.dumps({"elided": f"{len(call.arguments)} characters"}) if long else call.arguments

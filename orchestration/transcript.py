"""PURE: the journal of a run as the conversation that a person reads: cards in their order, commands as terminal blocks.

Each model call holds only the messages that were added since the one before; what the assistant said is in the answer of the call
that it was said in, so it is left out of the next call's messages.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .states import CallKind, CallStatus

OUTPUT_SHOWN = 16_000  # characters of one command's output on a page; the whole can be downloaded
SHOWN = 20_000  # characters of one message


@dataclass(frozen=True, slots=True)
class ToolUse:
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Card:
    """`kind`: system, user, assistant, tool, command or file. `call` is the journal's row that it comes from."""

    kind: str
    call: Any
    text: str = ""
    data: str = ""  # an answer that is JSON, as lines that a person can read
    tools: tuple[ToolUse, ...] = ()
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Terminal:
    """One command with its end. `status`: succeeded, failed, running or unknown."""

    pk: int
    script: str
    output: str
    status: str
    ended: str
    seconds: float | None
    cut: bool = False
    artifact: str = ""
    step: int | None = None
    anchor: str = field(default="")


def cards(calls: Iterable[Any]) -> Iterator[Card]:
    for call in calls:
        if call.kind == CallKind.COMMAND:
            yield Card("command", call)
        elif call.kind == CallKind.FILE:
            yield Card("file", call, _file(call))
        else:
            yield from _asked(call)


def terminal(call: Any) -> Terminal:
    """A command's row as a terminal block shows it."""
    answer = _mapping(call.answer)
    output = "\n".join(part for part in (str(answer.get("stdout") or ""), str(answer.get("stderr") or "")) if part)
    step = getattr(getattr(call, "run", None), "step", None) if "run" in call._state.fields_cache else None
    return Terminal(
        pk=call.pk,
        script=str(_mapping(call.request).get("script", "")),
        output=output[-OUTPUT_SHOWN:],
        status=_status(call),
        ended=_ended(call, answer),
        seconds=call.duration,
        cut=len(output) > OUTPUT_SHOWN or bool(call.output_id),
        artifact=call.output_id or "",
        step=step.index if step else None,
        anchor=f"call-{call.pk}",
    )


def _status(call: Any) -> str:
    if call.status == CallStatus.INTENT:
        return "running"
    if call.status in {CallStatus.UNKNOWN, CallStatus.FAILED}:
        return "errored"
    return "succeeded" if call.exit_code == 0 else "failed"


def _ended(call: Any, answer: Mapping[str, Any]) -> str:
    if call.status == CallStatus.INTENT:
        return "running"
    if call.status == CallStatus.UNKNOWN:
        return "its worker was lost"
    if call.status == CallStatus.FAILED:
        return "the sandbox broke"
    if answer.get("timed_out"):
        return "ended by us: too long"
    if answer.get("limit"):
        return f"ended by a limit: {answer['limit']}"
    return "exit none" if call.exit_code is None else f"exit {call.exit_code}"


def _asked(call: Any) -> Iterator[Card]:
    messages = _mapping(call.request).get("messages")
    for message in messages if isinstance(messages, list) else []:
        said = _mapping(message)
        role = str(said.get("role", ""))
        if role in {"system", "user", "tool"}:
            text = str(said.get("content") or "")
            yield Card(role, call, text[:SHOWN], cut=len(text) > SHOWN)
    answer = _mapping(_mapping(call.answer).get("message"))
    used = answer.get("tool_calls")
    tools = tuple(
        ToolUse(str(_mapping(use).get("name", ""))[:100], str(_mapping(use).get("arguments", ""))[:SHOWN])
        for use in (used if isinstance(used, list) else [])
    )
    text = str(answer.get("content") or "")
    data = _as_data(text)
    yield Card("assistant", call, "" if data else text[:SHOWN], data, tools, cut=len(text) > SHOWN)


def _as_data(text: str) -> str:
    """A planner and a reviewer answer with one JSON object."""
    if not text.lstrip().startswith("{") or len(text) > SHOWN:
        return ""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return ""


def _file(call: Any) -> str:
    request, answer = _mapping(call.request), _mapping(call.answer)
    problem = f": {answer['problem']}" if answer.get("problem") else ""
    if "write" in request:
        return f"wrote {request['write']} ({request.get('bytes', '?')} bytes){problem}"
    return f"read {request.get('read', '?')}{problem}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}

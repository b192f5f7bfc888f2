"""One parser for every JSON answer: plain, fenced, or in prose; and `ask`, which shows a model its error and asks again."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import json_repair
from pydantic import BaseModel, ValidationError

from .errors import InvalidReply
from .ports import LLM, Completion, CompletionRequest, Message, ToolCall
from .prompting import schema_of
from .tools import clip

Contract = TypeVar("Contract", bound=BaseModel)
REASKS = 2
LONGEST = 400_000  # characters of an answer that are looked at
SHOWN = 2_000  # characters of an error that the model is shown
ECHOED = 20_000  # characters of its own unusable answer that it is shown again
MENDABLE = 100_000  # characters; json_repair is slow on more
FENCE = re.compile(r"```[a-zA-Z0-9_-]*[ \t]*\n(.*?)```", re.DOTALL)
DECODER = json.JSONDecoder()
log = logging.getLogger(__name__)


class ParseProblem(ValueError):
    """The reply has no usable shape; the text is what the model is told."""


def parse_reply(text: str, contract: type[Contract]) -> Contract:
    """The contract in a reply. Raises ParseProblem."""
    try:
        return contract.model_validate(find_json(text))
    except ValidationError as error:
        raise ParseProblem(_explain(error)) from None


def find_json(text: str) -> dict[str, Any]:
    """The JSON object in a reply: all of it, in a fenced block, or in prose; mended if it is nearly one. Raises ParseProblem."""
    if len(text) > LONGEST:
        raise ParseProblem(f"the answer has {len(text)} characters, more than {LONGEST}: answer with much less")
    text = _after_thinking(text)
    begin, end = text.find("{"), text.rfind("}")
    pieces = [text, *(block.strip() for block in FENCE.findall(text)), *([text[begin:]] if begin >= 0 else [])]
    problem = "there is no JSON object in the answer"
    for piece in pieces:
        try:
            found, _ = DECODER.raw_decode(piece)
        except (ValueError, RecursionError) as error:
            problem = f"its JSON is broken: {error}" if piece.startswith("{") else problem
            continue
        if isinstance(found, dict):
            return found
    for piece in (*pieces[1:-1], text[begin : end + 1]) if 0 <= begin < end else ():
        if (mended := _mended(piece)) is not None:
            log.warning("an answer of the model was no JSON and was mended by json_repair (%d characters)", len(piece))
            return mended
    raise ParseProblem(f"{problem}; answer with one JSON object and nothing else")


def _after_thinking(text: str) -> str:
    """A thought comes first and may lack its opening mark; an answer may speak of the mark itself."""
    text = text.strip()
    return text if text.startswith(("{", "```")) else text.partition("</think>")[2].strip() or text


def _mended(piece: str) -> dict[str, Any] | None:
    """Commas and quotes are mended; brackets that were left open are not: what is missing there would be lost in silence."""
    closed = all(piece.count(opening) == piece.count(closing) for opening, closing in ("{}", "[]"))
    if "{" not in piece or not closed or len(piece) > MENDABLE:
        return None
    try:
        found = json_repair.loads(piece)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found else None


def calls_of(answer: Completion) -> tuple[ToolCall, ...]:
    """What the model asks for: its tool calls, or the one action of a model that writes instead of calling."""
    if answer.message.tool_calls:
        return answer.message.tool_calls
    try:
        said = find_json(answer.message.content)
    except ParseProblem:
        return ()
    if not isinstance(name := said.get("tool"), str):
        return ()
    return (ToolCall("", name, json.dumps(said.get("arguments") or {})),)


def ask(
    llm: LLM,
    messages: Sequence[Message],
    contract: type[Contract],
    name: str,
    check: Callable[[Contract], str] | None = None,
) -> Contract:
    """Ask for a contract, and ≤ 2 times again with the error; a reply cut by max_tokens is asked again, never used.

    `check` may find a fault that the contract does not: it returns what to tell the model, or an empty text. Raises InvalidReply.
    """
    return settle(llm, list(messages), contract, name, None, check)


def settle(
    llm: LLM,
    messages: list[Message],
    contract: type[Contract],
    name: str,
    first: Completion | None,
    check: Callable[[Contract], str] | None = None,
) -> Contract:
    """`ask`, where the first answer may have been given already (after a planner's reading)."""
    problem, text = "", ""
    for _ in range(1 + REASKS):
        answer = first or llm.complete(CompletionRequest(tuple(messages), schema=schema_of(contract), schema_name=name))
        first, text = None, answer.message.content
        try:
            if answer.finish_reason == "length":
                raise ParseProblem("the answer was cut off at the limit of its length: answer shorter")
            found = parse_reply(text, contract)
            problem = check(found) if check else ""
            if not problem:
                return found
        except ParseProblem as error:
            problem = str(error)
        messages += [
            Message("assistant", clip(text, ECHOED) or "(empty)"),
            Message(
                "user",
                f"That cannot be used: {problem[:SHOWN]}\nAnswer again with one JSON object of the agreed shape.",
            ),
        ]
    raise InvalidReply(
        f"the model gave no usable {name} in {1 + REASKS} answers; the last problem: {problem[:SHOWN]}",
        reply=text[:20_000],
    )


def _explain(error: ValidationError) -> str:
    """What is wrong, at most eight places, in words."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    lines = [f"{'.'.join(map(str, item['loc'])) or 'answer'}: {item['msg']}" for item in found[:8]]
    more = f"\n… and {len(found) - 8} more" if len(found) > 8 else ""
    return "\n".join(lines)[:SHOWN] + more

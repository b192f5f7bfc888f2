"""One parser for every JSON answer: plain, fenced, or in prose; and `ask`, which shows a model its error and asks again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import json_repair
from pydantic import BaseModel, ValidationError

from .errors import InvalidReply
from .ports import LLM, Completion, CompletionRequest, Message
from .prompting import schema_of

Contract = TypeVar("Contract", bound=BaseModel)
REASKS = 2
LONGEST = 400_000  # characters of an answer that are looked at
SHOWN = 2_000  # characters of an error that the model is shown
FENCE = re.compile(r"```[a-zA-Z0-9_-]*[ \t]*\n(.*?)```", re.DOTALL)


class ParseProblem(ValueError):
    """The reply has no usable shape; the text is what the model is told."""


def parse_reply(text: str, contract: type[Contract]) -> Contract:
    """The contract in a reply. Raises ParseProblem."""
    try:
        return contract.model_validate(find_json(text))
    except ValidationError as error:
        raise ParseProblem(_explain(error)) from None


def find_json(text: str) -> dict[str, Any]:
    """The JSON object in a reply: all of it, a fenced block, or between the outermost braces; mended if it is nearly one."""
    if len(text) > LONGEST:
        raise ParseProblem(f"the answer has {len(text)} characters, more than {LONGEST}: answer with much less")
    candidates = [text.strip(), *(block.strip() for block in FENCE.findall(text))]
    begin, end = text.find("{"), text.rfind("}")
    if 0 <= begin < end:
        candidates.append(text[begin : end + 1])
    for candidate in candidates:
        try:
            found = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            return found
    return _mended(candidates[1:] if begin >= 0 else [])


def _mended(candidates: Sequence[str]) -> dict[str, Any]:
    for candidate in candidates:
        if "{" not in candidate or len(candidate) > 100_000:
            continue
        try:
            found = json_repair.loads(candidate)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict) and found:
            return found
    raise ParseProblem("there is no JSON object in the answer; answer with one JSON object and nothing else")


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
            Message("assistant", text[:LONGEST] or "(empty)"),
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

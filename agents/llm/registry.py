"""Which model: from LLM_BASE_URL, LLM_MODEL, LLM_API_KEY (or VENICE_API_KEY) …; `LLMClient()` is that for people's own scripts."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import AgentError, Permanent
from ..ports import Completion, CompletionRequest, Message, ToolSpec
from .http import Timeouts
from .openai_compatible import OpenAICompatibleLLM

VENICE = "https://api.venice.ai/api/v1"
HOW = (
    "no model is set: LLM_BASE_URL=http://127.0.0.1:11434/v1 LLM_MODEL=… for Ollama, LLM_BASE_URL=https://api.openai.com/v1 with "
    "LLM_API_KEY for OpenAI, VENICE_API_KEY for Venice.ai; `manage.py demo_llm` plays the example without any model"
)


def from_environment(env: Mapping[str, str]) -> OpenAICompatibleLLM:
    """The model that the environment names. Raises Permanent with what to set."""
    base_url = env.get("LLM_BASE_URL", "").strip() or (VENICE if env.get("VENICE_API_KEY") else "")
    if not base_url:
        raise Permanent(HOW)
    at_venice = base_url.startswith("https://api.venice.ai/")  # no other server ever gets to see Venice's key
    key = env.get("LLM_API_KEY") or (env.get("VENICE_API_KEY", "") if at_venice else "")
    return OpenAICompatibleLLM(
        base_url,
        env.get("LLM_MODEL", ""),
        key,
        **options(env),
    )


def check(env: Mapping[str, str]) -> None:
    """Raises Permanent for a setting that cannot be; that none is set is no error here."""
    options(env)
    if env.get("LLM_BASE_URL", "").strip() or env.get("VENICE_API_KEY"):
        from_environment(env)


def options(env: Mapping[str, str]) -> dict[str, Any]:
    return {
        "timeouts": Timeouts(read=_number(env, "LLM_TIMEOUT", 300.0, least=0.1)),
        "max_tokens": int(_number(env, "LLM_MAX_TOKENS", 4096, least=1)),
        "temperature": _number(env, "LLM_TEMPERATURE", 0.0, least=0),
    }


class LLMClient:
    """The model of the environment: `LLMClient().complete(request)`."""

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        self._llm = from_environment(os.environ if env is None else env)
        self.model = self._llm.model
        self.max_tokens = self._llm.max_tokens
        self.dependency = self._llm.dependency

    def complete(self, request: CompletionRequest) -> Completion:
        return self._llm.complete(request)

    def abort(self) -> None:
        self._llm.abort()


@dataclass(frozen=True, slots=True)
class ModelProbe:
    """What one or two small calls showed. `problem` is empty when the model answers."""

    model: str = ""
    problem: str = ""
    json_mode: bool = False
    tool_calls: bool = False
    seconds: float = 0.0


def probe(env: Mapping[str, str]) -> ModelProbe:
    """Ask the model for a JSON answer and for a tool call. Costs two small calls."""
    try:
        llm = from_environment(env)
        begun = time.monotonic()
        shape = {
            "type": "object",
            "properties": {"ok": {"type": "boolean"}},
            "required": ["ok"],
            "additionalProperties": False,
        }
        ask = Message("user", 'Answer with this JSON object and nothing else: {"ok": true}')
        answer = llm.complete(CompletionRequest((ask,), schema=shape, schema_name="probe", max_tokens=500))
        seconds = time.monotonic() - begun
        json_mode = _is_json(answer.message.content)
        return ModelProbe(answer.model, "", json_mode, _calls_tools(llm), seconds)
    except AgentError as error:
        return ModelProbe(env.get("LLM_MODEL", ""), str(error))


def _calls_tools(llm: OpenAICompatibleLLM) -> bool:
    """Many servers refuse the whole request where a model knows no tools."""
    tool = ToolSpec("ping", "Call this tool.", {"type": "object", "properties": {}})
    try:
        called = llm.complete(CompletionRequest((Message("user", "Call the tool ping now."),), (tool,), max_tokens=500))
    except Permanent:
        return False
    return bool(called.message.tool_calls)


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _number(env: Mapping[str, str], name: str, default: float, *, least: float) -> float:
    text = env.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < least:
        raise Permanent(f"{name} must be a number of at least {least:g}, not {text[:40]!r}")
    return value

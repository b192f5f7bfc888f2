"""LLM over any OpenAI-compatible `/chat/completions`: Venice.ai, OpenAI, vLLM, Ollama, llama.cpp …"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

import tenacity

from ..errors import Cancelled, Permanent, Transient
from ..ports import Completion, CompletionRequest, Message, ToolCall, Usage
from . import http
from .http import NotSent, Reply, Timeouts

MAX_REPLY = 8 * 1024 * 1024
QUICK_AGAIN = frozenset({502, 503, 504})
QUOTA_WORDS = ("insufficient_quota", "insufficient balance", "billing")


@dataclass
class _Habits:
    """What a server turned out not to understand; remembered for the process, per address and model."""

    schema_modes: list[str] = field(default_factory=lambda: ["json_schema", "json_object", "text"])
    limit_name: str = "max_tokens"


_habits: dict[tuple[str, str], _Habits] = {}


class OpenAICompatibleLLM:
    """One object per run (see `abort`); connections are shared with the thread's other runs. The key is in no message and no repr."""

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str = "",
        *,
        timeouts: Timeouts | None = None,
        max_tokens: int = 4096,
        temperature: float = 0.0,
        max_reply_bytes: int = MAX_REPLY,
    ) -> None:
        if not model.strip():
            raise Permanent("no model is named: set LLM_MODEL to one that the server at LLM_BASE_URL has")
        self.model = model.strip()
        self.max_tokens = max_tokens
        self._base_url = base_url.rstrip("/")
        self._api_key = api_key
        self._timeouts = timeouts or Timeouts()
        self._temperature = temperature
        self._max_reply_bytes = max_reply_bytes
        self._line: http.Line | None = None
        self._lock = threading.Lock()
        self._aborted = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.model}>"

    def complete(self, request: CompletionRequest) -> Completion:
        habits = _habits.setdefault((self._base_url, self.model), _Habits())
        while True:
            reply = self._send(self._body(request, habits))
            if reply.status in (400, 422) and self._learns(reply, request, habits):
                continue
            self._raise_for(reply)
            return self._completion(reply, request)

    def abort(self) -> None:
        with self._lock:
            self._aborted = True
            line = self._line
        if line is not None:
            line.cut()

    # ---- asking

    def _body(self, request: CompletionRequest, habits: _Habits) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [_message(message) for message in request.messages],
            "temperature": self._temperature,
            habits.limit_name: request.max_tokens or self.max_tokens,
        }
        if request.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {"name": t.name, "description": t.description, "parameters": dict(t.parameters)},
                }
                for t in request.tools
            ]
        if request.schema is not None and habits.schema_modes[0] == "json_schema":
            shape = {"name": request.schema_name, "schema": dict(request.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": shape}
        elif request.schema is not None and habits.schema_modes[0] == "json_object":
            body["response_format"] = {"type": "json_object"}
        return body

    def _send(self, body: Mapping[str, Any]) -> Reply:
        """Ask, and quickly again (≤ 2 times) only where the request can't have been billed."""
        tries = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(3),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=0.5),
            retry=tenacity.retry_if_exception_type(NotSent)
            | tenacity.retry_if_result(lambda r: r.status in QUICK_AGAIN),
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        )
        data = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        try:
            reply: Reply = tries(self._post, data)
        except NotSent as error:
            raise Transient(str(error)) from None
        return reply

    def _post(self, data: bytes) -> Reply:
        line = http.Line()
        with self._lock:
            if self._aborted:
                raise Cancelled("the model client was told to stop")
            self._line = line
        try:
            url = f"{self._base_url}/chat/completions"
            return http.post(line, url, self._headers(), data, self._timeouts, self._max_reply_bytes)
        finally:
            self._line = None

    def _headers(self) -> dict[str, str]:
        headers = {"content-type": "application/json", "accept": "application/json"}
        return {**headers, "authorization": f"Bearer {self._api_key}"} if self._api_key else headers

    def _learns(self, reply: Reply, request: CompletionRequest, habits: _Habits) -> bool:
        """Does the refusal name something that we can say in another way? Then say it so from now on."""
        said = self._said(reply).lower()
        if "max_completion_tokens" in said and habits.limit_name == "max_tokens":
            habits.limit_name = "max_completion_tokens"
            return True
        names_format = any(word in said for word in ("response_format", "json_schema", "json_object", "structured"))
        if request.schema is not None and names_format and len(habits.schema_modes) > 1:
            habits.schema_modes.pop(0)
            return True
        return False

    # ---- understanding the answer

    def _raise_for(self, reply: Reply) -> None:
        """Every status that is no answer, mapped once."""
        said, status = self._said(reply), reply.status
        if 200 <= status < 300:
            return
        if status in (401, 403):
            raise Permanent(f"the model's server refuses the key (HTTP {status}): set LLM_API_KEY. {said}")
        if status == 404:
            raise Permanent(f"not found (HTTP 404): check LLM_BASE_URL and LLM_MODEL ({self.model}). {said}")
        if status == 402 or any(word in said.lower() for word in QUOTA_WORDS):
            raise Permanent(f"the account at the model's server has no credit left (HTTP {status}). {said}")
        if status == 429:
            raise Transient(f"the model's server asks to slow down (HTTP 429). {said}", retry_after=_retry_after(reply))
        if status >= 500 or status == 408:
            raise Transient(f"the model's server failed (HTTP {status}). {said}", retry_after=_retry_after(reply))
        raise Permanent(f"the model's server refuses the request (HTTP {status}). {said}")

    def _completion(self, reply: Reply, request: CompletionRequest) -> Completion:
        try:
            answer = json.loads(reply.body)
        except ValueError:
            raise Transient(
                f"the model's server sent {reply.content_type} instead of JSON, or only a part of it"
            ) from None
        choices = answer.get("choices") if isinstance(answer, dict) else None
        if not choices:
            raise Transient("the model's server sent an answer without choices")
        try:
            return self._understood(answer, choices[0], request)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise Transient(f"the model's answer has an unknown shape ({type(error).__name__})") from None

    def _understood(
        self, answer: Mapping[str, Any], choice: Mapping[str, Any], request: CompletionRequest
    ) -> Completion:
        said = choice["message"]
        calls = tuple(
            ToolCall(
                str(c.get("id") or f"call_{n}"), str(c["function"]["name"]), _arguments(c["function"].get("arguments"))
            )
            for n, c in enumerate(said.get("tool_calls") or ())
        )
        message = Message("assistant", _text(said.get("content")), calls)
        usage = _usage(answer.get("usage"), request, message)
        return Completion(
            message, str(choice.get("finish_reason") or "stop"), usage, str(answer.get("model") or self.model)
        )

    def _said(self, reply: Reply) -> str:
        """The server's own words: short, printable, without our key."""
        text = reply.body[:4000].decode("utf-8", "replace")
        try:
            found = json.loads(reply.body)
            error = found.get("error", found) if isinstance(found, dict) else found
            text = str(error.get("message", error) if isinstance(error, dict) else error)
        except ValueError:
            text = f"It sent {reply.content_type}." if "<" in text else text
        if self._api_key:
            text = text.replace(self._api_key, "[key]")
        return "".join(char if char.isprintable() else " " for char in text)[:500].strip()


def _message(message: Message) -> dict[str, Any]:
    shown: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        shown["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
            for c in message.tool_calls
        ]
    if message.role == "tool":
        shown["tool_call_id"] = message.tool_call_id
    return shown


def _arguments(given: Any) -> str:
    """Some servers send the arguments as an object instead of text."""
    return given if isinstance(given, str) else json.dumps(given if given is not None else {})


def _text(content: Any) -> str:
    """Some servers send the text in parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


def _usage(said: Any, request: CompletionRequest, message: Message) -> Usage:
    """As billed; where the server says nothing, by size."""
    if isinstance(said, dict) and said.get("prompt_tokens") is not None:
        details = said.get("prompt_tokens_details") or {}
        cached = details.get("cached_tokens", 0) if isinstance(details, dict) else 0
        return Usage(_count(said["prompt_tokens"]), _count(said.get("completion_tokens")), _count(cached))
    asked = sum(len(m.content.encode("utf-8", "replace")) for m in request.messages)
    answered = len(message.content.encode("utf-8", "replace")) + sum(len(c.arguments) for c in message.tool_calls)
    return Usage(-(-asked // 3), -(-answered // 3))


def _count(value: Any) -> int:
    return min(max(int(value or 0), 0), 2_000_000_000)


def _retry_after(reply: Reply) -> float | None:
    """Seconds from now, whether the server gave seconds or a date."""
    said = reply.headers.get("retry-after", "").strip()
    if not said:
        return None
    try:
        return max(0.0, float(said))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, TypeError):
        return None

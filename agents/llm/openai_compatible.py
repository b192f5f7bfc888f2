"""LLM over any OpenAI-compatible `/chat/completions`: Venice.ai, OpenAI, vLLM, Ollama, llama.cpp …"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import tenacity

from ..errors import Cancelled, Cause, Permanent, Transient
from ..ports import Completion, CompletionRequest, Message, ToolCall, Usage
from . import http
from .http import NotSent, Reply, Timeouts

MAX_REPLY = 8 * 1024 * 1024
QUICK_AGAIN = frozenset({502, 503, 504})
QUOTA_WORDS = ("insufficient_quota", "insufficient balance", "insufficient_balance")
LENGTH_WORDS = (
    "context_length",
    "context length",
    "context window",
    "too many tokens",
    "prompt is too long",
    "context size",
)
FORMAT_WORDS = ("response_format", "json_schema", "json_object", "structured")
MODES = ("json_schema", "json_object", "text")
NEXT_MODE = {"json_schema": "json_object", "json_object": "text"}
LONGEST_RETRY_AFTER = 86400.0


@dataclass
class Habits:
    """How a model is asked: what its server turned out not to understand is remembered for the process, per address and model."""

    schema_mode: str = "json_schema"
    limit_name: str = "max_tokens"
    temperature: bool = True


_habits: dict[tuple[str, str], Habits] = {}


class OpenAICompatibleLLM:
    """One object per run (see `abort`); connections are shared with the thread's other runs. The key is in no message and no repr.

    `guard`: from the IP address of a new connection why that must not be asked, or nothing (see `addresses`).
    """

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
        guard: Callable[[str], str] | None = None,
    ) -> None:
        if not model.strip():
            raise Permanent("no model is named: set LLM_MODEL to one that the server at LLM_BASE_URL has")
        self.model = model.strip()
        self.max_tokens = max_tokens
        self._base_url, person = http.plain_address(base_url)
        self.dependency = f"model {self.model} at {self._base_url}"[:300]
        self._api_key = api_key.strip()
        if not (self._api_key.isascii() and self._api_key.isprintable()):
            raise Permanent("LLM_API_KEY holds characters that no key has (a line break, an accent …): copy it again")
        self._authorization = f"Bearer {self._api_key}" if self._api_key else _basic(person)
        name, _, password = person.partition(":")
        sent = self._authorization.partition(" ")[2]
        self._secrets = [secret for secret in (self._api_key, sent, password, name) if secret]
        self._timeouts = timeouts or Timeouts()
        self._temperature = temperature
        self._max_reply_bytes = max_reply_bytes
        self._guard = guard
        self._line: http.Line | None = None
        self._lock = threading.Lock()
        self._aborted = False

    def prefer(self, answers: str) -> None:
        """How this model is best asked for JSON, as a trial has shown; what was refused since then stays as it was learnt."""
        habits = self._habits(self.model)
        if MODES.index(answers) > MODES.index(habits.schema_mode):
            habits.schema_mode = answers

    def _habits(self, model: str) -> Habits:
        return _habits.setdefault((self._base_url, model), Habits())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.model}>"

    def complete(self, request: CompletionRequest) -> Completion:
        return self.complete_by(request, self._habits(request.model or self.model))

    def complete_by(
        self, request: CompletionRequest, habits: Habits, note: Callable[[Reply], None] | None = None
    ) -> Completion:
        """Said in the way of these habits, which learn; `note` is shown each whole reply."""
        while True:
            body = self._body(request, habits)
            reply = self._send(body)
            if note is not None:
                note(reply)
            if 200 <= reply.status < 300:
                return self._completion(reply, request)
            said = self._said(reply)
            if reply.status not in (400, 422) or not _learns(habits, body, said.lower()):
                raise self._refusal(reply, said)

    def get(self, path: str, max_bytes: int) -> Reply:
        """What else the server tells. Raises NotSent, Broken or AgentError."""
        return http.get(http.Line(self._guard), f"{self._base_url}{path}", self._headers(), self._timeouts, max_bytes)

    def abort(self) -> None:
        with self._lock:
            self._aborted = True
            line = self._line
        if line is not None:
            line.cut()

    # ---- asking

    def _body(self, request: CompletionRequest, habits: Habits) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": request.model or self.model,
            "messages": [_message(message) for message in request.messages],
            habits.limit_name: request.max_tokens or self.max_tokens,
        }
        if habits.temperature:
            body["temperature"] = self._temperature if request.temperature is None else request.temperature
        if request.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {"name": t.name, "description": t.description, "parameters": dict(t.parameters)},
                }
                for t in request.tools
            ]
        if request.schema is not None and habits.schema_mode == "json_schema":
            shape = {"name": request.schema_name, "schema": dict(request.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": shape}
        elif request.schema is not None and habits.schema_mode == "json_object":
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
            raise Transient(str(error), outage_of=self.dependency, cause=Cause.UNREACHABLE) from None
        except http.Broken as error:
            cause = Cause.TIMED_OUT if isinstance(error, http.TimedOut) else Cause.FAILING
            raise Transient(str(error), billed=True, outage_of=self.dependency, cause=cause) from None
        return reply

    def _post(self, data: bytes) -> Reply:
        line = http.Line(self._guard)
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
        return {**headers, "authorization": self._authorization} if self._authorization else headers

    # ---- understanding the answer

    def _refusal(self, reply: Reply, said: str) -> Permanent | Transient:
        """Every status that is no answer, mapped once."""
        status = reply.status
        if status == 402 or (status in (403, 429) and any(word in _text_of(reply).lower() for word in QUOTA_WORDS)):
            said = f"the account at the model's server has no credit left (HTTP {status}). {said}"
            return Permanent(said, cause=Cause.NO_CREDIT)
        if status in (401, 403):
            said = f"the model's server refuses the key (HTTP {status}): set LLM_API_KEY. {said}"
            return Permanent(said, cause=Cause.REFUSED)
        if status == 404:
            said = f"not found (HTTP 404): check LLM_BASE_URL and LLM_MODEL ({self.model}). {said}"
            return Permanent(said, cause=Cause.REFUSED)
        if status == 429:
            said = f"the model's server asks to slow down (HTTP 429). {said}"
            return self._outage(said, reply, Cause.RATE_LIMITED)
        if status >= 500 or status == 408:
            return self._outage(f"the model's server failed (HTTP {status}). {said}", reply, Cause.FAILING)
        if status == 413 or (status in (400, 422) and any(word in _text_of(reply).lower() for word in LENGTH_WORDS)):
            said = f"the request is longer than the model can read (HTTP {status}). {said}"
            return Permanent(said, cause=Cause.TOO_LONG)
        if 300 <= status < 400:
            place = self._clean(reply.headers.get("location", "nowhere"))
            return Permanent(
                f"the model's server sends us on to {place} (HTTP {status}): set LLM_BASE_URL to the final address"
            )
        return Permanent(f"the model's server refuses the request (HTTP {status}). {said}")

    def _outage(self, text: str, reply: Reply, cause: str) -> Transient:
        return Transient(text, retry_after=_retry_after(reply), outage_of=self.dependency, cause=cause)

    def _completion(self, reply: Reply, request: CompletionRequest) -> Completion:
        try:
            answer = json.loads(reply.body)
        except (ValueError, RecursionError):
            kind = self._clean(reply.content_type)
            said = f"the model's server sent no JSON, or only a part of it (content type: {kind})"
            raise Transient(said, billed=True) from None
        choices = answer.get("choices") if isinstance(answer, dict) else None
        if not choices:
            raise Transient(f"the model's server sent an answer without choices. {self._said(reply)}", billed=True)
        try:
            return self._understood(answer, choices[0], request)
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            kind = type(error).__name__
            raise Transient(f"the model's answer has an unknown shape ({kind})", billed=True) from None

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
            message,
            str(choice.get("finish_reason") or "stop"),
            usage,
            str(answer.get("model") or request.model or self.model),
        )

    def _said(self, reply: Reply) -> str:
        """The server's own words: short, printable, without our secrets."""
        try:
            found = json.loads(reply.body)
        except (ValueError, RecursionError):
            text = _text_of(reply)
            return self._clean(f"It sent {reply.content_type}." if "<" in text else text)
        error = found.get("error", found) if isinstance(found, dict) else found
        return self._clean(str(error.get("message", error) if isinstance(error, dict) else error))

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "[key]")
        return "".join(char if char.isprintable() else " " for char in text)[:500].strip()


def _learns(habits: Habits, body: Mapping[str, Any], said: str) -> bool:
    """Does the refusal name something of `body` that we can say in another way? Then it is said so from now on.

    Another thread may have learnt the same since `body` was made; then there is only the asking again.
    """
    if "max_completion_tokens" in said and "max_tokens" in body:
        habits.limit_name = "max_completion_tokens"
    elif "temperature" in said and "support" in said and "temperature" in body:
        habits.temperature = False
    elif "response_format" in body and any(word in said for word in FORMAT_WORDS):
        habits.schema_mode = NEXT_MODE[body["response_format"]["type"]]
    else:
        return False
    return True


def _basic(person: str) -> str:
    return f"Basic {base64.b64encode(person.encode()).decode()}" if person else ""


def _text_of(reply: Reply) -> str:
    return reply.body[:4000].decode("utf-8", "replace")


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
    return Usage(sum(_estimate(m) for m in request.messages), _estimate(message))


def _estimate(message: Message) -> int:
    size = sum(
        len(text.encode("utf-8", "replace")) for text in (message.content, *(c.arguments for c in message.tool_calls))
    )
    return -(-size // 3)


def _count(value: Any) -> int:
    return min(max(int(value or 0), 0), 2_000_000_000)


def _retry_after(reply: Reply) -> float | None:
    """Seconds from now, whether the server gave seconds or a date."""
    said = reply.headers.get("retry-after", "").strip()
    try:
        seconds = float(said) if said[:1].isdigit() else parsedate_to_datetime(said).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(0.0, seconds), LONGEST_RETRY_AFTER)

"""The demo model as an OpenAI-compatible HTTP server, with switches for the faults that real servers have."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from .demo_model import MODEL, NotTheExample, answer, role_in

LARGEST_REQUEST = 16 * 1024 * 1024
Answerer = Callable[[Mapping[str, Any]], dict[str, Any]]


@dataclass
class Faults:
    """`delay` seconds before each answer; every `nth` chat call answers with `status` (0: never says anything) and `body`."""

    delay: float = 0.0
    nth: int = 0
    status: int = 500
    body: str = '{"error": {"message": "a fault on purpose"}}'
    headers: dict[str, str] = field(default_factory=dict)


class DemoServer(ThreadingHTTPServer):
    """`calls` is its book: one entry per chat call, also appended to `log` as JSON lines, for comparing with a journal."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], answerer: Answerer, faults: Faults, log: Path | None, key: str
    ) -> None:
        super().__init__(address, _Handler)
        self.answerer = answerer
        self.faults = faults
        self.key = key
        self.calls: list[dict[str, Any]] = []
        self._log = log
        self._lock = threading.Lock()
        self._closed = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def book(self, request: Mapping[str, Any]) -> bool:
        """Write the call down as it arrives, answered or not. Is it one that gets the fault?"""
        text = json.dumps(request["messages"], sort_keys=True)
        prompt, role = hashlib.sha256(text.encode()).hexdigest(), role_in(request["messages"])
        with self._lock:
            n = len(self.calls) + 1
            faulty = self.faults.nth > 0 and n % self.faults.nth == 0
            self.calls.append({"n": n, "role": role, "prompt": prompt, "faulty": faulty})
            if self._log is not None:
                with self._log.open("a") as file:
                    file.write(json.dumps(self.calls[-1]) + "\n")
        return faulty

    def wait(self, seconds: float | None) -> None:
        """Keep a caller waiting (None: for ever), but not beyond the server's end."""
        self._closed.wait(seconds)

    def server_close(self) -> None:
        self._closed.set()
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Callers that hang up are no news."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    log: Path | None = None,
    faults: Faults | None = None,
    answerer: Answerer = answer,
    key: str = "",
) -> DemoServer:
    """A listening server; the caller runs `serve_forever` (in a thread). `key`: demand this bearer token."""
    return DemoServer((host, port), answerer, faults or Faults(), log, key)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes: the second would wait for the client's delayed ACK
    server: DemoServer

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self._answer(200, {"ok": True})
        elif self.path == "/v1/models":
            self._answer(200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        else:
            self._fail(404, "there is nothing at this address")

    def do_POST(self) -> None:
        length = self.headers.get("content-length") or ""
        if not length.isdecimal() or int(length) > LARGEST_REQUEST:
            self.close_connection = True
            self._fail(413, f"a request needs a content-length of at most {LARGEST_REQUEST}")
            return
        body = self.rfile.read(int(length))
        if self.path != "/v1/chat/completions":
            self._fail(404, "there is nothing at this address; the base URL ends with /v1")
            return
        if self.server.key and self.headers.get("authorization") != f"Bearer {self.server.key}":
            self._fail(401, "invalid api key")
            return
        self._chat(body)

    def _chat(self, body: bytes) -> None:
        try:
            request = json.loads(body)
            messages = request.get("messages") if isinstance(request, dict) else None
            if not messages or not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
                raise ValueError("messages are missing")
        except (ValueError, RecursionError) as error:
            self._fail(400, f"not a chat request: {error}")
            return
        faults, faulty = self.server.faults, self.server.book(request)
        self.server.wait(faults.delay)
        if faulty:
            self._fault(faults)
            return
        try:
            said = self.server.answerer(request)
        except NotTheExample as error:
            self._fail(400, str(error))
            return
        self._answer(200, completion(request, said))

    def _fault(self, faults: Faults) -> None:
        if faults.status == 0:
            self.server.wait(None)
            self.close_connection = True
            return
        self._send(faults.status, faults.body.encode(), faults.headers)

    def _fail(self, status: int, message: str) -> None:
        self._answer(status, {"error": {"message": message, "type": "invalid_request_error"}})

    def _answer(self, status: int, value: Mapping[str, Any]) -> None:
        self._send(status, json.dumps(value).encode(), {})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in (
            {"content-type": "application/json", "content-length": str(len(body))} | dict(headers)
        ).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: the book is the log."""


def completion(request: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """A message as a chat completion; tokens are counted as a quarter of the characters, unless it names its `usage`."""
    calls = [
        {"id": f"call_{len(request['messages'])}_{n}", "type": "function", "function": dict(call)}
        for n, call in enumerate(said["tool_calls"])
    ]
    prompt, answered = len(json.dumps(request["messages"])) // 4, (len(said["content"]) + len(json.dumps(calls))) // 4
    usage = {"prompt_tokens": prompt, "completion_tokens": answered, "total_tokens": prompt + answered}
    message = {"role": "assistant", "content": said["content"], **({"tool_calls": calls} if calls else {})}
    return {
        "id": f"chat-{len(request['messages'])}",
        "object": "chat.completion",
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}],
        "usage": usage | said.get("usage", {}),
    }

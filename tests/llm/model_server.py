"""A real HTTP server that answers each request as told, also in the ways in which real model servers are broken."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

CERTIFICATE = Path(__file__).with_name("loopback.pem")


@dataclass(frozen=True)
class Say:
    """An answer. `length`: what the head promises, where that is not the truth."""

    status: int = 200
    body: bytes | str | Mapping[str, Any] | list[Any] = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None

    @property
    def data(self) -> bytes:
        body = self.body
        return body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()


@dataclass(frozen=True)
class Asked:
    """A request as it arrived; `line` tells connections apart."""

    path: str
    headers: Mapping[str, str]
    body: Any
    line: tuple[str, int]


Answer = Say | Callable[["Handler"], None]


class ModelServer(ThreadingHTTPServer):
    """Plays `answers` in their order, the last one again and again. `reached` is set when a request waits for its answer."""

    daemon_threads = True

    def __init__(self, *, tls: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.scheme = "https" if tls else "http"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.answers: list[Answer] = [answered("hello")]
        self.asked: list[Asked] = []
        self.reached, self.closed = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}/v1"

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    @property
    def bodies(self) -> list[Any]:
        return [asked.body for asked in self.asked]

    def says(self, *answers: Answer) -> None:
        self.answers = list(answers)

    def stop(self) -> None:
        self.closed.set()
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are part of the tests."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ModelServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        server = self.server
        server.asked.append(Asked(self.path, headers, body, self.client_address))
        answer = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
        if callable(answer):
            answer(self)
        else:
            self.give(answer)

    def give(self, answer: Say) -> None:
        self.send_response(answer.status)
        length = len(answer.data) if answer.length is None else answer.length
        for name, value in {
            "content-type": "application/json",
            **answer.headers,
            "content-length": str(length),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.data)
        self.close_connection = answer.length is not None or answer.headers.get("connection") == "close"

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: `asked` is the log."""


# ---- answers


def answered(content: Any = "hello", *, finish_reason: str = "stop", usage: Any = None, **message: Any) -> Say:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": content, **message},
        "finish_reason": finish_reason,
    }
    return Say(body={"choices": [choice], "model": "m-2026", **({"usage": usage} if usage else {})})


def refused(status: int, message: str, headers: Mapping[str, str] | None = None, **more: Any) -> Say:
    return Say(status, {"error": {"message": message, **more}}, headers or {})


def never(handler: Handler) -> None:
    """Reads the request and says nothing."""
    handler.server.reached.set()
    handler.server.closed.wait()
    handler.close_connection = True


def stops_in_the_middle(handler: Handler) -> None:
    """Sends a head and half a body, then nothing."""
    handler.send_response(200)
    handler.send_header("content-length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    never(handler)


def endless(handler: Handler) -> None:
    """Sends a body without an end."""
    handler.send_response(200)
    handler.send_header("transfer-encoding", "chunked")
    handler.end_headers()
    while not handler.server.closed.is_set():
        handler.wfile.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")

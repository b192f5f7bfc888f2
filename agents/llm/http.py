"""The one module that imports httpx: a client per worker thread, kept alive, whose socket in use can be shut from another thread."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpcore
import httpx

from ..errors import Cancelled, Permanent, Transient

CHUNK = 65536


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `read` is the longest silence while the model thinks."""

    connect: float = 10.0
    read: float = 300.0
    write: float = 30.0
    pool: float = 10.0


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer, whole. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").split(";")[0].strip() or "no content type"


class NotSent(Exception):
    """The request did not reach the server: trying again can cost nothing."""


class Line:
    """The socket of a call in flight; `cut` wakes a blocked read, which closing the client would not."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self.was_cut = False

    def hold(self, sock: socket.socket | None) -> None:
        with self._lock:
            self._socket = sock
            if self.was_cut and sock is not None:
                _shut(sock)

    def cut(self) -> None:
        with self._lock:
            self.was_cut = True
            if self._socket is not None:
                _shut(self._socket)


def post(line: Line, url: str, headers: dict[str, str], body: bytes, timeouts: Timeouts, max_bytes: int) -> Reply:
    """POST and read the whole answer, at most `max_bytes`. Raises NotSent, Transient, Permanent or Cancelled; never retries."""
    return _exchange("POST", line, url, headers, body, timeouts, max_bytes)


def get(line: Line, url: str, headers: dict[str, str], timeouts: Timeouts, max_bytes: int) -> Reply:
    return _exchange("GET", line, url, headers, b"", timeouts, max_bytes)


def _exchange(
    method: str, line: Line, url: str, headers: dict[str, str], body: bytes, timeouts: Timeouts, max_bytes: int
) -> Reply:
    host = httpx.URL(url).netloc.decode()
    timeout = httpx.Timeout(connect=timeouts.connect, read=timeouts.read, write=timeouts.write, pool=timeouts.pool)
    client, backend = _client()
    backend.line = line
    try:
        with client.stream(method, url, headers=headers, content=body, timeout=timeout) as answer:
            backend.show(answer)
            return Reply(
                answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, _read(answer, max_bytes)
            )
    except (httpx.HTTPError, httpx.StreamError, OSError) as error:
        if line.was_cut:
            raise Cancelled("the model request was ended") from None
        raise _mapped(error, host, timeouts) from None
    finally:
        line.hold(None)
        backend.line = None


def _read(answer: httpx.Response, max_bytes: int) -> bytes:
    data = bytearray()
    for chunk in answer.iter_bytes(CHUNK):
        data += chunk
        if len(data) > max_bytes:
            raise Permanent(
                f"the model's answer is larger than {max_bytes // (1024 * 1024)} MiB; nothing of it is used"
            )
    return bytes(data)


def _mapped(error: Exception, host: str, timeouts: Timeouts) -> Exception:
    """Every foreign exception, once."""
    if isinstance(error, httpx.ConnectTimeout | httpx.ConnectError | httpx.PoolTimeout):
        return NotSent(f"no server answers at {host} ({_short(error)}); is it running? LLM_BASE_URL")
    if isinstance(error, httpx.TimeoutException):
        return Transient(f"the model at {host} said nothing for {timeouts.read:g} seconds (LLM_TIMEOUT)")
    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL | httpx.LocalProtocolError):
        return Permanent(f"LLM_BASE_URL or a header cannot be used: {_short(error)}")
    return Transient(f"the connection to the model at {host} broke: {_short(error)}")


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:200]


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


# ---- one client per thread, one TLS context per process


class _Backend(httpcore.SyncBackend):
    """httpcore's own sockets, with the one that is being opened or used known to the call's Line."""

    line: Line | None = None

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        stream = super().connect_tcp(host, port, timeout, local_address, socket_options)
        self._hold(stream)
        return stream

    def show(self, answer: httpx.Response) -> None:
        """A connection that was kept alive is only known once its answer begins."""
        self._hold(answer.extensions.get("network_stream"))

    def _hold(self, stream: Any) -> None:
        sock = stream.get_extra_info("socket") if stream is not None else None
        if self.line is not None and sock is not None:
            self.line.hold(sock)


class _Transport(httpx.HTTPTransport):
    def __init__(self, backend: _Backend) -> None:
        super().__init__(verify=_tls(), retries=0)
        self._pool = httpcore.ConnectionPool(
            ssl_context=_tls(), max_connections=2, keepalive_expiry=60, network_backend=backend
        )


_local = threading.local()


def _client() -> tuple[httpx.Client, _Backend]:
    if not hasattr(_local, "client"):
        _local.backend = _Backend()
        _local.client = httpx.Client(transport=_Transport(_local.backend), follow_redirects=False, trust_env=False)
    return _local.client, _local.backend


@cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()

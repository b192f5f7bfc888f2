"""The one module that imports httpx: a client per worker thread, kept alive, whose socket in use can be shut from another thread."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx

from ..errors import Cancelled, Permanent

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


class Broken(Exception):
    """It was sent, and no whole answer came: it may have been billed."""


class TimedOut(Broken):
    """It was sent, and nothing came for the longest time that is waited."""


class Line:
    """The socket of a call in flight; `cut` wakes a blocked read, which closing the client would not."""

    def __init__(self, guard: Callable[[str], str] | None = None) -> None:
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._guard = guard
        self.was_cut = False

    def reached(self, address: str) -> None:
        """A connection stands, and nothing was sent yet. Raises Permanent where the guard says why this server must not be asked."""
        if self._guard is not None and (problem := self._guard(address)):
            raise Permanent(f"the model's server is not asked: {problem}")

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


def plain_address(url: str) -> tuple[str, str]:
    """The address of a server without "name:password@", and that part alone: clients write addresses into logs."""
    try:
        parsed = httpx.URL(url.strip().rstrip("/"))
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise Permanent("LLM_BASE_URL is not an address like http://127.0.0.1:11434/v1 or https://api.openai.com/v1")
    person = f"{parsed.username}:{parsed.password}" if parsed.userinfo else ""
    return str(parsed.copy_with(userinfo=b"")), person


def post(line: Line, url: str, headers: dict[str, str], body: bytes, timeouts: Timeouts, max_bytes: int) -> Reply:
    """POST and read the whole answer, at most `max_bytes`. Raises NotSent, Broken, Permanent or Cancelled; never retries."""
    return _ask("POST", line, url, headers, body, timeouts, max_bytes)


def get(line: Line, url: str, headers: dict[str, str], timeouts: Timeouts, max_bytes: int) -> Reply:
    """The same for a GET."""
    return _ask("GET", line, url, headers, None, timeouts, max_bytes)


def _ask(
    method: str, line: Line, url: str, headers: dict[str, str], body: bytes | None, timeouts: Timeouts, max_bytes: int
) -> Reply:
    mine = _mine()
    mine.serve(line)
    timeout = httpx.Timeout(connect=timeouts.connect, read=timeouts.read, write=timeouts.write, pool=timeouts.pool)
    more = {"trace": mine.trace}
    try:
        with mine.client.stream(method, url, headers=headers, content=body, timeout=timeout, extensions=more) as answer:
            names = {name.lower(): value for name, value in answer.headers.items()}
            return Reply(answer.status_code, names, _read(answer, max_bytes))
    except (httpx.HTTPError, httpx.StreamError, OSError) as error:
        if line.was_cut:
            raise Cancelled("the model request was ended") from None
        raise _mapped(error, httpx.URL(url).netloc.decode(), timeouts) from None
    finally:
        mine.serve(None)


def _read(answer: httpx.Response, max_bytes: int) -> bytes:
    data = bytearray()
    for chunk in answer.iter_bytes(CHUNK):
        data += chunk
        if len(data) > max_bytes:
            size = f"{max_bytes / 2**20:g} MiB"
            raise Permanent(f"the model's answer is larger than {size}; nothing of it is used", billed=True)
    return bytes(data)


def _mapped(error: Exception, host: str, timeouts: Timeouts) -> Exception:
    """Every foreign exception, once."""
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return Permanent(f"the certificate of {host} is not trusted; SSL_CERT_FILE names the authorities to trust")
    if isinstance(error, httpx.ConnectTimeout | httpx.ConnectError | httpx.PoolTimeout):
        return NotSent(f"no server answers at {host} ({_short(error)}); is it running? LLM_BASE_URL")
    if isinstance(error, httpx.ReadTimeout):
        return TimedOut(f"the model at {host} said nothing for {timeouts.read:g} seconds (LLM_TIMEOUT)")
    return Broken(f"the connection to the model at {host} broke: {_short(error)}")


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:200]


def _shut(sock: socket.socket) -> None:
    """Not by `sock.shutdown`: a TLS socket would first forget its TLS state, below the thread that is reading."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


# ---- one client per thread, one TLS context per process


class _Mine:
    """This thread's client and its one connection, which is kept alive: a call that reuses it is told its socket at once.

    Until a connection stands there is no socket to shut: a `cut` while one is being opened works at the end of that
    (`Timeouts.connect`).
    """

    def __init__(self) -> None:
        limits = httpx.Limits(max_connections=1, keepalive_expiry=60)
        transport = httpx.HTTPTransport(verify=_tls(), trust_env=False, limits=limits)
        self.client = httpx.Client(transport=transport, follow_redirects=False, trust_env=False)
        self._socket: socket.socket | None = None
        self._line: Line | None = None

    def serve(self, line: Line | None) -> None:
        """From now on the connection belongs to this call (None: to nobody)."""
        if self._line is not None:
            self._line.hold(None)
        self._line = line
        if line is not None:
            line.hold(self._socket)

    def _look_at(self, sock: socket.socket | None) -> None:
        """By the other side's real address: a name may lead to another one each time it is looked up."""
        if self._line is None or sock is None:
            return
        try:
            self._line.reached(str(socket.socket.getpeername(sock)[0]))
        except Permanent:
            socket.socket.close(sock)
            raise
        except OSError:
            return  # gone already: sending will say so

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """httpcore tells what it does; a new stream is this thread's connection."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._socket = info["return_value"].get_extra_info("socket")
            self._look_at(self._socket)
            if self._line is not None:
                self._line.hold(self._socket)


_local = threading.local()


def _mine() -> _Mine:
    if not hasattr(_local, "mine"):
        _local.mine = _Mine()
    mine: _Mine = _local.mine
    return mine


@cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()

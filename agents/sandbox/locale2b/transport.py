"""The one module of the remote sandbox that imports httpx: a request to a service, and its whole answer or why there is none."""

from __future__ import annotations

import ipaddress
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx

from ...errors import Permanent

LARGEST_ANSWER = 16 * 1024 * 1024
CONNECT = 5.0
TRICKLES = 4  # times its patience an answer may take in all: one that comes byte by byte is never silent


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, whole. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NoAnswer(Exception):
    """Refused, broken off, silent for too long, or larger than it may be. `arrived`: the request may have been carried out."""

    def __init__(self, why: str, *, arrived: bool, silent: bool = False) -> None:
        super().__init__(why)
        self.arrived, self.silent = arrived, silent


@dataclass(frozen=True, slots=True)
class Address:
    """A service's address without a password; `private`: loopback or a private network. `name` is how people are told of it."""

    url: str
    name: str
    tls: bool
    private: bool


class Transport:
    """A client that any thread may use. The key goes into a header and nowhere else, and is in no repr."""

    def __init__(self, address: Address, headers: Mapping[str, str]) -> None:
        transport = httpx.HTTPTransport(verify=_tls(), trust_env=False, limits=httpx.Limits(keepalive_expiry=4))
        self._client = httpx.Client(
            base_url=address.url, headers=dict(headers), transport=transport, follow_redirects=False, trust_env=False
        )

    def send(
        self,
        method: str,
        path: str,
        *,
        patience: float,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        file: tuple[str, bytes] | None = None,
    ) -> Answer:
        """Ask once; `patience` is the longest silence in seconds. Raises NoAnswer."""
        timeout = httpx.Timeout(connect=CONNECT, read=patience, write=patience, pool=patience)
        files = {"file": file} if file else None
        ends = time.monotonic() + TRICKLES * patience
        try:
            with self._client.stream(method, path, json=body, params=query, files=files, timeout=timeout) as answer:
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return Answer(answer.status_code, headers, _whole(answer, ends))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NoAnswer(_short(error), arrived=False) from None
        except httpx.TimeoutException:
            raise NoAnswer(f"silent for {patience:g} s", arrived=True, silent=True) from None
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            raise NoAnswer(_short(error), arrived=True) from None


def parse_address(text: str) -> Address:
    """Raises Permanent when it is not an http address, or has a name and password in it."""
    try:
        url = httpx.URL(text.strip().rstrip("/"))
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host or url.userinfo:
        raise Permanent(
            "LOCALE2B_BASE_URL must be addresses like http://10.0.0.5:8080, without a password (LOCALE2B_API_KEY)"
        )
    return Address(str(url), url.netloc.decode(), url.scheme == "https", _is_private(url.host))


def _is_private(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host == "localhost" or "." not in host or host.endswith((".internal", ".local", ".lan", ".localhost"))


def _whole(answer: httpx.Response, ends: float) -> bytes:
    data, begun = bytearray(), time.monotonic()
    for chunk in answer.iter_bytes():
        data += chunk
        if time.monotonic() > ends:
            raise NoAnswer(f"not whole after {time.monotonic() - begun:.0f} s", arrived=True, silent=True)
        if len(data) > LARGEST_ANSWER:
            raise NoAnswer(f"an answer of more than {LARGEST_ANSWER >> 20} MiB", arrived=True)
    return bytes(data)


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:200]


@cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()

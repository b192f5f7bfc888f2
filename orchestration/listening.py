"""Where the panel listens: which addresses are refused, and the next free port."""

from __future__ import annotations

import errno
import ipaddress
import socket

from .children import NotStarted

TRIED = 50  # ports from the wanted one on


def refusal(host: str, *, debug: bool, key_is_default: bool) -> str:
    """Why this must not be served to other machines; empty if it may, or if only this machine can reach it."""
    if is_loopback(host):
        return ""
    if debug:
        return f"HOST={host} can be reached by other machines, and DEBUG shows them code and settings: unset DEBUG, or HOST"
    if key_is_default:
        return (
            f"HOST={host} can be reached by other machines, and SECRET_KEY is the one of the source code, with which "
            "anybody can log in: set SECRET_KEY to a long random text (in .env), or unset HOST"
        )
    return ""


def is_loopback(host: str) -> bool:
    """A name other than localhost may be anything, also tomorrow."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on this port, or on the next one that is free. Raises NotStarted with what is wrong with the address."""
    if port not in range(65536):
        raise NotStarted(f"PORT={port} is no port; they go from 0 (any free one) to 65535")
    for number in range(port, min(port + TRIED, 65536)) if port else [0]:
        try:
            return _bound(host.strip("[]"), number)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise NotStarted(
                    f"HOST={host} PORT={number} cannot be used: {error.strerror or error}; set others"
                ) from error
    raise NotStarted(f"port {port} and those after it are taken on {host}; set another PORT")


def url_of(host: str, port: int) -> str:
    """The address to type on this machine."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host.strip("[]"), host.strip("[]"))  # noqa: S104 - read, not bound
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def _bound(host: str, port: int) -> socket.socket:
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    made = socket.socket(family, kind)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(128)
    except BaseException:
        made.close()
        raise
    return made

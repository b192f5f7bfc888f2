"""PURE: what a status other than 200 means, by the call that it answers: one table, tried row by row in its test."""

from __future__ import annotations

from typing import Literal

from ...errors import AgentError, Permanent, SandboxBusy, SandboxLost, Transient

Call = Literal["health", "capacity", "list", "create", "status", "destroy", "exec", "upload", "read"]

INSIDE: frozenset[str] = frozenset({"exec", "upload", "read"})  # calls that the VM itself answers
DEAD = ("broken pipe", "connection closed", "connection reset", "failed to connect", "timed out", "response too large")
REFUSED_BY_GUEST = ("permission denied", "no space left", "read-only file system", "is a directory")
NO_TEMPLATE = ("kernel not found", "base rootfs not found")


class GuestRefused(Permanent):
    """The VM would not write a file. If a trivial command still works there, that is final; else the VM is dead."""


def refusal(call: Call, status: int, detail: str, retry_after: str | None, service: str) -> AgentError:
    """The error that a status stands for. The message says which service it was and what to do."""
    who = f"the sandbox service {service}"
    words = detail.lower()
    if status == 401 or status == 403:
        return Permanent(
            f"{who} refuses the key (HTTP {status}): set LOCALE2B_API_KEY (and LOCALE2B_API_KEY_HEADER). {detail}"
        )
    if status == 404 and call in ("status", "destroy", *INSIDE):
        return SandboxLost(f"{who} does not know the sandbox any more (HTTP 404): {detail}")
    if status == 404:
        return Permanent(f"{who} has no such address (HTTP 404): is LOCALE2B_BASE_URL right? {detail}")
    if status == 413:
        return Permanent(
            f"{who} takes no body of this size (HTTP 413): raise its MAX_REQUEST_SIZE_BYTES to 10 MB. {detail}"
        )
    if status == 429:
        return SandboxBusy(f"{who} asks to slow down (HTTP 429)", retry_after=waited(retry_after))
    if status == 503:
        return SandboxBusy(f"{who} has no room (HTTP 503): {detail}", retry_after=waited(retry_after, otherwise=5.0))
    if status == 500:
        return _broken(call, words, detail, who)
    if 300 <= status < 500:
        return Permanent(f"{who} refuses the request (HTTP {status}): {detail}")
    return Transient(f"{who} failed (HTTP {status}): {detail or 'no words'}; look at its log")


def _broken(call: Call, words: str, detail: str, who: str) -> AgentError:
    if any(said in words for said in NO_TEMPLATE):
        return Permanent(f"{who} does not have the template: {detail}. Set LOCALE2B_TEMPLATE to one that it has")
    if call in INSIDE and any(said in words for said in DEAD):
        return SandboxLost(f"{who} lost the sandbox: {detail}")
    if call == "upload" and any(said in words for said in REFUSED_BY_GUEST):
        return GuestRefused(f"the sandbox at {who} cannot take the file: {detail}")
    return Transient(f"{who} failed (HTTP 500): {detail or 'no words'}; look at its log")


def waited(retry_after: str | None, otherwise: float = 1.0) -> float:
    """Seconds to wait: at least one, also where the service says 0, nothing, or something that is no number; at most a minute."""
    try:
        said = float(retry_after) if retry_after is not None else otherwise
    except ValueError:
        said = otherwise
    return min(max(1.0, said), 60.0) if said == said else 1.0

"""A live trial of the services that are set: field by field what fits the contract, and what to do where it does not."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from ...errors import AgentError, SandboxLost
from ...ports import Command, SandboxSpec
from .options import Options, warnings
from .provider import Locale2bProvider
from .sandbox import RemoteSandbox
from .service import Service
from .transport import NoAnswer, Transport

Status = Literal["ok", "warn", "fail"]
VERSIONS = "The service must be a locale2b that keeps docs/sandboxes.md; compare its version and its log."
BLOCKED = 1.0  # seconds that /health may take beside a command, if the service does not block
LONG = 2  # seconds of that command


@dataclass(frozen=True, slots=True)
class Finding:
    """`remedy` is empty where nothing is to be done."""

    name: str
    status: Status
    detail: str
    remedy: str = ""


def examine(provider: Locale2bProvider, options: Options, *, rate: bool = False) -> Iterator[Finding]:
    """Makes and removes one small VM per service. `rate`: also ask until it says 429, which slows others down for a minute."""
    for warning in warnings(options):
        yield Finding("settings", "warn", warning)
    for service, address in zip(provider.services, options.addresses, strict=True):
        yield from _outside(service, Transport(address, {}), options)
        yield from _inside(provider, service)
        if rate:
            yield _rate(service.name, Transport(address, options.headers), options)


def glance(service: Service) -> Finding:
    """One request: does it answer, does it take our key, how much room has it?"""

    def look() -> str:
        found = service.capacity()
        room = f"{found.active_sandboxes} of {found.max_sandboxes} sandboxes, {found.memory_available_mb} MB free"
        rest = service.ledger.resting(only_look=True)
        return f"it answers ({room})" + (f"; after trouble it rests for {rest:.0f} s more" if rest else "")

    return _tried(f"sandbox locale2b {service.name}", look, "manage.py check_sandbox tries it step by step.")


# ---- from outside


def _outside(service: Service, stranger: Transport, options: Options) -> Iterator[Finding]:
    yield _tried(
        f"{service.name} health", lambda: _health(service), "Is it running, and LOCALE2B_BASE_URL its address?"
    )
    yield _tried(f"{service.name} capacity", lambda: _capacity(service), VERSIONS)
    yield _tried(f"{service.name} list", lambda: f"{len(service.machines())} sandboxes, a bare list", VERSIONS)
    yield _auth(service.name, stranger, options)


def _health(service: Service) -> str:
    found = service.health()
    if found.status != "healthy":
        raise AgentError(f"it says of itself: {found.status}")
    return f"version {found.version}, {found.active_sandboxes} of {found.max_sandboxes} sandboxes"


def _capacity(service: Service) -> str:
    found = service.capacity()
    if not found.can_create_default:
        raise AgentError(f"it has no room for a default sandbox ({found.memory_available_mb} MB free)")
    return f"{found.memory_available_mb} MB free"


def _auth(name: str, stranger: Transport, options: Options) -> Finding:
    """Asks without our key."""
    try:
        status = stranger.send("GET", "/sandboxes", patience=20).status
    except NoAnswer as error:
        return Finding(f"{name} auth", "fail", str(error))
    if status in (401, 403):
        return Finding(
            f"{name} auth", "ok", f"a stranger is refused (HTTP {status}), our key is taken ({options.key_header})"
        )
    remedy = "Start it with API_KEY_ENABLED=true and API_KEYS=…, and set LOCALE2B_API_KEY here."
    return Finding(f"{name} auth", "warn", f"anybody can use it without a key (HTTP {status})", remedy)


def _rate(name: str, transport: Transport, options: Options) -> Finding:
    ours = options.per_minute
    for sent in range(1, 2 * ours + 20):
        try:
            answer = transport.send("GET", "/health", patience=20)
        except NoAnswer as error:
            return Finding(f"{name} rate", "fail", f"after {sent} requests: {error}")
        if answer.status == 429:
            wait = answer.headers.get("retry-after", "not said")
            detail = f"HTTP 429 at request {sent} beside what was asked before; Retry-After: {wait}; we send {ours} per minute"
            remedy = (
                "Lower LOCALE2B_REQUESTS_PER_MINUTE, or raise RATE_LIMIT_REQUESTS of the service (it counts twice)."
            )
            return Finding(f"{name} rate", "ok" if sent > ours else "warn", detail, "" if sent > ours else remedy)
    return Finding(f"{name} rate", "ok", f"no limit within {sent} requests; we send {ours} per minute")


# ---- in a VM


def _inside(provider: Locale2bProvider, service: Service) -> Iterator[Finding]:
    opened: list[RemoteSandbox] = []

    def create() -> str:
        begun = time.monotonic()
        opened.append(provider.open_at(service, SandboxSpec(label="check", memory_mib=512), {}))
        return f"a VM with a living agent in {time.monotonic() - begun:.1f} s"

    yield _tried(f"{service.name} create", create, "Look at its log: KVM, the kernel, the template's root file system.")
    if not opened:
        return
    box = opened[0]
    try:
        for name, look, remedy in (
            ("exec", _exec, VERSIONS),
            ("tools", _tools, "Put the missing program into the template's root file system (LOCALE2B_TEMPLATE)."),
            ("time limit", _time_limit, VERSIONS),
            ("files", _files, VERSIONS),
            ("missing file", _missing_file, VERSIONS),
            ("network", _network, "A VM should have no network device: what runs in it is not trusted."),
        ):
            yield _tried(f"{service.name} {name}", lambda look=look: look(box), remedy)  # type: ignore[misc]
        yield _tried(f"{service.name} parallel_exec", lambda: _parallel(box), VERSIONS)
    finally:
        box.close()
    yield _tried(f"{service.name} destroy", lambda: _gone(box), VERSIONS)


def _exec(box: RemoteSandbox) -> str:
    begun = time.monotonic()
    result = box.run(Command("id -u; echo oops >&2; exit 3"))
    if (result.exit_code, result.stderr) != (3, "oops\n"):
        raise AgentError(f"exit code {result.exit_code} and {result.stderr!r} instead of 3 and 'oops'")
    return f"exit code, streams and user {result.stdout.strip()} in {time.monotonic() - begun:.2f} s"


def _tools(box: RemoteSandbox) -> str:
    wanted = "bash python3 git tar sed grep awk find xargs"
    result = box.run(
        Command(f"for tool in {wanted}; do command -v $tool >/dev/null || echo $tool; done; git --version; python3 -V")
    )
    *missing, git, python = result.stdout.splitlines()
    if missing:
        raise AgentError(f"missing in the VM: {', '.join(missing)}")
    return f"{git}, {python}"


def _time_limit(box: RemoteSandbox) -> str:
    result = box.run(Command("sleep 60 & echo begun; sleep 60", timeout=1))
    if not result.timed_out or result.stdout != "begun\n":
        raise AgentError(f"a command over its limit ended as {result}")
    return f"a command of 60 s was ended after {result.duration:.1f} s, its output kept"


def _files(box: RemoteSandbox) -> str:
    data = os.urandom(2_000_000)
    box.write("trial/it's a..b", data)
    if box.read("trial/it's a..b", len(data)) != data:
        raise AgentError("2 MB came back changed")
    return "2 MB went in and came back, sha256 compared"


def _missing_file(box: RemoteSandbox) -> str:
    try:
        box.service.download(box.sandbox_id, "/tmp/no-such-file")  # noqa: S108 - a place in the VM
    except SandboxLost as error:
        if "HTTP 404" in str(error):
            raise AgentError("HTTP 404, which should mean that the sandbox is gone") from error
        return "it is a file error, not HTTP 404"
    raise AgentError("a file that is not there was read")


def _network(box: RemoteSandbox) -> str:
    devices = box.run(Command("tail -n +3 /proc/net/dev | cut -d: -f1")).stdout.split()
    if others := [device for device in devices if device != "lo"]:
        raise AgentError(f"it has network devices: {', '.join(others)}")
    return "none"


def _parallel(box: RemoteSandbox) -> str:
    """Does a command keep /health waiting? Then one service runs one command at a time."""
    thread = threading.Thread(target=lambda: box.service.execute(box.sandbox_id, f"sleep {LONG}", LONG + 5))
    thread.start()
    time.sleep(0.4)
    begun = time.monotonic()
    box.service.health()
    waited = time.monotonic() - begun
    thread.join()
    if waited < BLOCKED:
        return f"yes: /health answered in {waited:.2f} s beside a command (we still run one command at a time)"
    return "no: a command blocks the whole service, as known; for N commands at once set N addresses"


def _gone(box: RemoteSandbox) -> str:
    try:
        machine = box.service.machine(box.sandbox_id)
    except SandboxLost:
        return "the VM is gone (HTTP 404)"
    raise AgentError(f"it is still there, {machine.status}")


def _tried(name: str, look: Callable[[], str], remedy: str) -> Finding:
    try:
        return Finding(name, "ok", look())
    except (AgentError, ValueError) as error:
        return Finding(name, "fail", str(error), remedy)

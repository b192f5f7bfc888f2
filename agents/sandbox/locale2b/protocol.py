"""PURE: what we say to the runner in the VM, and how its one line of answer is read. A line without our marker is not believed."""

from __future__ import annotations

import base64
import io
import json
import os
import secrets
import zipfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from ...errors import SandboxLost
from ...ports import Command, CommandResult, SandboxSpec
from ..environment import environment
from ..limits import MIB, limit_of
from ..process import FLOOD, HEAD, TAIL, TIME, WHOLE, Stream
from .answers import ContractError, Ran, Shape, told

PLACE = "/tmp/compymac"  # noqa: S108 - in the VM, which is ours alone; the files API reaches it
RUNNER = f"{PLACE}/runner.zip"
SLICE = 3.0  # seconds that one exec may block the whole service: also how late a cancel is noticed
LONGEST_COMMAND = 64_000  # characters; a longer order is uploaded
IN_LINE = 24_000  # bytes of data that go within an order; more is uploaded in parts
READ_INLINE = 1 * MIB
PART_UP, PART_DOWN = 7 * MIB, 5 * MIB


class Ready(Shape):
    state: str
    python: str
    git: bool


class Told(Shape):
    size: int
    head: str
    tail: str

    def stream(self) -> Stream:
        return Stream(bytearray(base64.b64decode(self.head)), bytearray(base64.b64decode(self.tail)), self.size)


class Staged(Shape):
    size: int
    parts: int
    sha256: str


class Done(Shape):
    exit: int
    why: str
    duration: float
    left: int
    out: Told
    err: Told
    whole: Staged | None = None


class Said(Shape):
    """Every other answer: `state` says which of the fields count."""

    state: str
    text: str = ""
    errno: int = 0
    mode: int = 0
    names: int = 0
    size: int = 0
    parts: int = 0
    sha256: str = ""
    data: str = ""
    left: int = 0
    failed: str = ""


S = TypeVar("S", bound=Shape)


def new_marker() -> str:
    return secrets.token_hex(8)


# ---- what we say


def install(marker: str, order: Mapping[str, Any]) -> str:
    """Put the runner into a fresh VM and let it say hello: also the trial that the VM's agent lives."""
    unpack = f"import base64;open('{RUNNER}','wb').write(base64.b64decode('{_packed_runner()}'))"
    return f'mkdir -p -m 700 {PLACE} && python3 -I -c "{unpack}" && {say("hello", marker, order)}'


def say(verb: str, marker: str, order: Mapping[str, Any]) -> str:
    """The command line of a verb. Nothing in it needs quoting: the order is base64, or @ where it was uploaded before."""
    data = base64.b64encode(as_json(order)).decode() if order else "@"
    return f"python3 -I -S {RUNNER} {verb} {marker} {data}"


def as_json(order: Mapping[str, Any]) -> bytes:
    return json.dumps(order, separators=(",", ":")).encode()


@cache
def _packed_runner() -> str:
    """The folder `guest` as a zip that Python runs, in base64."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__main__.py", "from guest.verbs import main\nmain()\n")
        for path in sorted(Path(__file__).with_name("guest").glob("*.py")):
            archive.writestr(f"guest/{path.name}", path.read_bytes())
    return base64.b64encode(data.getvalue()).decode()


def start_order(spec: SandboxSpec, command: Command, user: int) -> dict[str, Any]:
    """All but the input. The environment is made of nothing of the worker's own."""
    vault, home, tmp = f"{PLACE}/vault", "/nonexistent", "/tmp"  # noqa: S108 - the runner makes a home for each command
    return {
        "script": command.script,
        "timeout": command.timeout,
        "vault": command.vault,
        "env": environment(spec, command, workspace=spec.place, vault=vault, home=home, tmp=tmp),
        "cwd": spec.place,
        "user": user,
        "processes": spec.processes,
        "fsize": spec.disk_mib * MIB,
        "head": HEAD,
        "tail": TAIL,
        "whole": WHOLE,
        "flood": FLOOD,
        "part": PART_DOWN,
        "slice": min(SLICE, command.timeout + 1),
    }


def path_order(spec: SandboxSpec, parts: Sequence[str], vault: bool) -> dict[str, Any]:
    """Names are bytes: they travel as base64, whatever is in them."""
    return {
        "place": spec.place,
        "vault": vault,
        "path": [base64.b64encode(os.fsencode(part)).decode() for part in parts],
    }


def part_name(direction: str, marker: str, number: int) -> str:
    return f"{PLACE}/{direction}-{marker}.{number}"


def parts_of(data: bytes, size: int = PART_UP) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


# ---- what it answers


def heard(marker: str, ran: Ran, service: str) -> dict[str, Any]:
    """The last line, if it carries our marker. Raises SandboxLost when nothing that can be believed came back."""
    line = ran.stdout.strip().rpartition("\n")[2]
    try:
        said: dict[str, Any] = json.loads(line)
        if said.pop("m") != marker:
            raise ValueError("the marker of another call")
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        why = ran.error or ran.stderr.strip()[-300:] or f"exit code {ran.exit_code}, {len(ran.stdout)} characters"
        raise SandboxLost(f"the sandbox at {service} did not answer as itself: {why}") from None
    return said


def shaped(shape: type[S], said: Mapping[str, Any], service: str) -> S:
    """Raises ContractError with the field that does not fit."""
    try:
        return shape.model_validate(said)
    except ValidationError as error:
        raise ContractError(
            f"the runner in the sandbox at {service} said something else than agreed: {told(error)}"
        ) from None


def result(done: Done, spec: SandboxSpec, whole: bytes) -> CommandResult:
    out, err = done.out.stream().text(), done.err.stream().text()
    if done.why:
        late = done.why == TIME
        return CommandResult(None, out, err, late, "" if late else done.why, done.duration, whole)
    code = done.exit if done.exit >= 0 else 128 - done.exit
    return CommandResult(code, out, err, False, limit_of(code, spec), done.duration, whole)

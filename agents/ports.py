"""The two ports through which an agent reaches the world, `LLM` and `Sandbox`, and the values that pass through them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What the model asks for: `arguments` is the raw JSON text, not yet trusted."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the conversation; `tool_call_id` links a tool's answer to its call."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool offered to the model; `parameters` is a JSON Schema object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """All that a loop controls of one model call; two equal requests are the same call (see the journal).

    `schema` asks for a JSON answer of that shape, by the best means that the server has. `max_tokens`, `temperature` None
    and `model` empty: the client's setting.
    """

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    schema: Mapping[str, Any] | None = None
    schema_name: str = "answer"
    max_tokens: int | None = None
    temperature: float | None = None
    model: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as billed; `cached` is the part of `prompt` that was served from the provider's cache."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0

    @property
    def total(self) -> int:
        return self.prompt + self.completion


@dataclass(frozen=True, slots=True)
class Completion:
    """The model's answer. `finish_reason` is the server's word: stop, length, tool_calls, content_filter."""

    message: Message
    finish_reason: str
    usage: Usage
    model: str


class LLM(Protocol):
    """A model. Errors: Transient, Permanent, Cancelled (after `abort`). `dependency` names it with its server; empty: never away."""

    @property
    def model(self) -> str: ...

    @property
    def max_tokens(self) -> int: ...

    @property
    def dependency(self) -> str: ...

    def complete(self, request: CompletionRequest) -> Completion:
        """Ask once; blocks until the answer is whole."""

    def abort(self) -> None:
        """From another thread: end the call in flight at once, and refuse new ones. Idempotent."""


@dataclass(frozen=True, slots=True)
class Command:
    """A text for `bash -c` in /workspace. `timeout` in seconds of running time (waiting for a slot is not counted).

    `vault`: also mount the workspace's own git directory at `$VAULT` (an environment variable of the command). Only the
    system's git commands set it: a model's command never sees that directory.
    """

    script: str
    timeout: float = 120.0
    stdin: bytes = b""
    vault: bool = False
    network: bool = False


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended. `exit_code` None: it was ended by us (`timed_out`, or the limit named in `limit`).

    `stdout` and `stderr` are decoded with replacement and clipped to head and tail; where that cut something, `whole` has the
    bytes of both in order of arrival, up to a larger cap. A command killed by signal n has exit code 128 + n.
    """

    exit_code: int | None
    stdout: str = ""
    stderr: str = ""
    timed_out: bool = False
    limit: str = ""
    duration: float = 0.0
    whole: bytes = field(default=b"", repr=False)

    @property
    def ok(self) -> bool:
        return self.exit_code == 0

    @property
    def output(self) -> str:
        """Both streams as one text, stdout first."""
        return self.stdout if not self.stderr else f"{self.stdout}\n{self.stderr}" if self.stdout else self.stderr


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """What one sandbox is made of. `label` holds ids only (it is visible inside).

    `readonly`: place inside → host folder, mounted read-only; a *toolchain* or *environment* folder also puts its `bin` on PATH when
    its place inside is listed in `path`. `place`: where the writable folder is mounted inside.
    """

    label: str
    place: str = "/workspace"
    readonly: Mapping[str, Path] = field(default_factory=dict)
    path: tuple[str, ...] = ()
    memory_mib: int = 4096
    processes: int = 256
    disk_mib: int = 2048


class Sandbox(Protocol):
    """An isolated folder /workspace and the means to act in it. Paths are relative to it; no path leads out.

    Errors: Transient (the sandbox is lost or busy), Permanent (it cannot be had here: the message has the remedy), Cancelled
    (closed while a command ran), FileProblem.
    """

    @property
    def gone(self) -> bool:
        """It was closed, and nothing of it is left."""

    def run(self, command: Command) -> CommandResult:
        """Run one command to its end; nothing that it started is left when this returns."""

    def read(self, path: str, max_bytes: int = 1_048_576) -> bytes:
        """The bytes of a regular file in /workspace, or below `$VAULT` with the prefix `vault:`. Never follows a link."""

    def write(self, path: str, data: bytes) -> None:
        """Write a regular file, making its folders; the same path rules as `read`."""

    def close(self) -> None:
        """From any thread: end what runs, remove the folder. Idempotent."""


class SandboxProvider(Protocol):
    """Where sandboxes come from. `name` and `layers` are shown to people; what is put below `scratch` may be mounted read-only.

    `dependency` names the service that it needs; empty: it needs none.
    """

    name: str
    dependency: str
    layers: tuple[str, ...]
    scratch: Path

    def open(self, spec: SandboxSpec) -> Sandbox:
        """A new, empty sandbox. Raises SandboxBusy when none is to be had just now."""

    def sweep(self) -> int:
        """Remove the sandboxes of workers that were killed, and nobody else's; how many there were."""

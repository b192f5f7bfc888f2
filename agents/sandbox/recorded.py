"""A sandbox without one: files in memory and answers by script. Ships with the project, for tests of agents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ..errors import Cancelled, FileProblem
from ..ports import Command, CommandResult, Sandbox, SandboxSpec
from .files import clean_path

Answer = CommandResult | str | Callable[[Command], CommandResult]


class RecordedSandbox:
    """`results`: part of a script → its result (a text stands for exit code 0). What is not listed exits with 127."""

    def __init__(
        self, files: Mapping[str, bytes | str] | None = None, results: Mapping[str, Answer] | None = None
    ) -> None:
        self.files = {path: data.encode() if isinstance(data, str) else data for path, data in (files or {}).items()}
        self.results = dict(results or {})
        self.commands: list[Command] = []
        self.closed = False

    @property
    def gone(self) -> bool:
        return self.closed

    def run(self, command: Command) -> CommandResult:
        if self.closed:
            raise Cancelled("the sandbox is closed")
        self.commands.append(command)
        for part, answer in self.results.items():
            if part in command.script:
                if callable(answer):
                    return answer(command)
                return CommandResult(0, answer) if isinstance(answer, str) else answer
        return CommandResult(
            127, "", f"bash: {command.script.split()[0] if command.script.split() else ''}: command not found"
        )

    def read(self, path: str, max_bytes: int = 1_048_576) -> bytes:
        clean_path(path.removeprefix("vault:"))
        if path not in self.files:
            raise FileProblem(f"{path!r} cannot be read: no such file or directory")
        return self.files[path][:max_bytes]

    def write(self, path: str, data: bytes) -> None:
        clean_path(path.removeprefix("vault:"))
        self.files[path] = data

    def close(self) -> None:
        self.closed = True


class RecordedProvider:
    """Hands out the same recorded sandbox."""

    name = "recorded"
    dependency = ""
    layers = ("a recording, nothing runs",)
    scratch = Path("/nonexistent")

    def __init__(self, sandbox: RecordedSandbox) -> None:
        self.sandbox = sandbox

    def open(self, spec: SandboxSpec) -> Sandbox:
        return self.sandbox

    def sweep(self) -> int:
        return 0

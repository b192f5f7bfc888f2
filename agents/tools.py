"""What an agent can ask for, each a small function of a sandbox; a wrong request gets an answer that helps, never an exception."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import FileProblem
from .ports import Command, CommandResult, Sandbox, ToolCall, ToolSpec

SHOWN = 8_000  # characters of an output that the model is shown, half from the head and half from the tail
LARGEST_FILE = 1_048_576
SEARCH_HITS = 100


class Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RunCommand(Arguments):
    """Run a shell command (bash) in the repository's top folder; returns exit code and output."""

    command: str = Field(min_length=1, max_length=20_000)


class ReadFile(Arguments):
    """Read a text file, with line numbers from `first_line` on."""

    path: str
    first_line: int = Field(default=1, ge=1)


class Search(Arguments):
    """Search the files for a regular expression (grep -E); returns file:line: text."""

    pattern: str = Field(min_length=1, max_length=500)
    path: str = ""


class EditFile(Arguments):
    """Replace `old`, which must occur exactly once in the file, by `new`."""

    path: str
    old: str = Field(min_length=1)
    new: str


class WriteFile(Arguments):
    """Write a whole file, making its folders; replaces it if it exists."""

    path: str
    content: str = Field(max_length=LARGEST_FILE)


class Finish(Arguments):
    """End the step. `evidence`: the commands or checks that prove it."""

    success: bool
    summary: str = Field(default="", max_length=8000)
    evidence: list[str] = Field(default_factory=list, max_length=50)


@dataclass(frozen=True, slots=True)
class Bench:
    """What the tools work with."""

    sandbox: Sandbox
    timeout: float


def run_command(bench: Bench, asked: RunCommand) -> str:
    return told(bench.sandbox.run(Command(asked.command, timeout=bench.timeout)), bench.timeout)


def read_file(bench: Bench, asked: ReadFile) -> str:
    text = bench.sandbox.read(asked.path, LARGEST_FILE).decode("utf-8", "replace")
    lines = text.splitlines()
    if asked.first_line > max(len(lines), 1):
        return f"error: {asked.path} has {len(lines)} lines"
    numbered = (f"{n:5}  {line}" for n, line in enumerate(lines[asked.first_line - 1 :], asked.first_line))
    return clip("\n".join(numbered), 3 * SHOWN) or "(the file is empty)"


def search(bench: Bench, asked: Search) -> str:
    where = shlex.quote(asked.path or ".")
    grep = f"grep -rnIE --exclude-dir=.git --exclude-dir=node_modules --exclude-dir=.venv -e {shlex.quote(asked.pattern)} -- {where}"
    found = bench.sandbox.run(Command(f"{grep} | cut -c1-300 | head -n {SEARCH_HITS}", timeout=bench.timeout))
    if found.stderr.strip() and not found.stdout.strip():
        return f"error: {clip(found.stderr.strip(), 500)}"
    return clip(found.stdout.strip(), SHOWN) or "nothing found"


def edit_file(bench: Bench, asked: EditFile) -> str:
    text = bench.sandbox.read(asked.path, LARGEST_FILE).decode("utf-8", "surrogateescape")
    count = text.count(asked.old)
    if count != 1:
        return f"error: the old text occurs {count} times in {asked.path}, and must occur exactly once. {_hint(text, asked.old, count)}"
    bench.sandbox.write(asked.path, text.replace(asked.old, asked.new).encode("utf-8", "surrogateescape"))
    return f"{asked.path} is changed"


def write_file(bench: Bench, asked: WriteFile) -> str:
    data = asked.content.encode("utf-8", "replace")
    bench.sandbox.write(asked.path, data)
    return f"{asked.path} is written ({len(data)} bytes)"


@dataclass(frozen=True, slots=True)
class Tool:
    """Its arguments' model names, describes and checks it; `do` is None for `finish`, which the loop itself understands."""

    arguments: type[Arguments]
    do: Callable[[Bench, Any], str] | None

    def spec(self, name: str) -> ToolSpec:
        schema = self.arguments.model_json_schema()
        schema.pop("title", None)
        return ToolSpec(name, schema.pop("description", ""), schema)


TOOLS: dict[str, Tool] = {
    "run_command": Tool(RunCommand, run_command),
    "read_file": Tool(ReadFile, read_file),
    "search": Tool(Search, search),
    "edit_file": Tool(EditFile, edit_file),
    "write_file": Tool(WriteFile, write_file),
    "finish": Tool(Finish, None),
}
READING = {name: TOOLS[name] for name in ("read_file", "search")}


def specs(tools: Mapping[str, Tool]) -> tuple[ToolSpec, ...]:
    return tuple(tool.spec(name) for name, tool in tools.items())


def understand(tools: Mapping[str, Tool], call: ToolCall) -> Arguments | str:
    """The checked arguments, or what to tell the model."""
    tool = tools.get(call.name)
    if tool is None:
        return f"error: there is no tool {call.name[:80]!r}; there are {', '.join(tools)}"
    try:
        given = json.loads(call.arguments or "{}")
        return tool.arguments.model_validate(given)
    except ValidationError as error:
        places = [
            f"{'.'.join(map(str, e['loc'])) or 'arguments'}: {e['msg']}" for e in error.errors(include_url=False)[:5]
        ]
        return f"error: the arguments of {call.name} are wrong: {'; '.join(places)}"[:1500]
    except (ValueError, RecursionError) as error:
        return f"error: the arguments of {call.name} are no JSON object: {error}"[:500]


def use(tools: Mapping[str, Tool], bench: Bench, call: ToolCall) -> str:
    """The tool's answer to the model, whatever it asked for."""
    asked = understand(tools, call)
    if isinstance(asked, str):
        return asked
    do = tools[call.name].do
    assert do is not None
    try:
        return do(bench, asked)
    except FileProblem as problem:
        return f"error: {problem}"


def told(result: CommandResult, timeout: float) -> str:
    """A command's result in the words that the model reads."""
    how = f"exit code {result.exit_code}"
    if result.timed_out:
        how = f"ended by us: it ran longer than {timeout:g} seconds"
    elif result.limit:
        how = f"ended by a limit: {result.limit}"
    elif result.exit_code == 127:
        how = "exit code 127 (a program was not found)"
    return f"{how}\n{clip(result.output.strip(), SHOWN)}".strip()


def clip(text: str, longest: int) -> str:
    """Head and tail, and how much was left out between them."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters left out …]\n{text[-half:]}"


def _hint(text: str, old: str, count: int) -> str:
    if count > 1:
        return "Quote more of the lines around it."
    first = next((line.strip() for line in old.splitlines() if line.strip()), "")
    near = [f"{n}: {line}" for n, line in enumerate(text.splitlines(), 1) if first and first[:40] in line]
    return (
        f"Nearest lines:\n{clip(chr(10).join(near[:5]), 600)}" if near else "Read the file again and quote it exactly."
    )

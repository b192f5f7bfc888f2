"""What an agent can ask for, each a small function of a sandbox; a wrong request gets an answer that helps, never an exception."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from .contracts import Question
from .errors import FileProblem
from .ports import Command, CommandResult, Message, Sandbox, ToolCall, ToolSpec
from .redaction import MARK
from .sandbox.files import clean_path
from .text import storable_json

SHOWN = 8_000  # characters of an output that the model is shown, half from the head and half from the tail
HIDDEN = (
    "error: {path} is as it was: what you wrote holds '[redacted: …]', which stands for a secret that you are not shown. "
    "Change only the lines around it, with edit_file."
)
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
    evidence: list[Annotated[str, StringConstraints(max_length=2000)]] = Field(default_factory=list, max_length=50)


class Ask(Arguments):
    """Ask a person, where only they can decide. Ask before you change anything: the step begins anew with the answer in its brief."""

    question: str = Field(min_length=1, max_length=2000)
    choices: list[Annotated[str, StringConstraints(min_length=1, max_length=200)]] = Field(
        default_factory=list, max_length=10, description="the possible answers; empty: any text"
    )
    default: str = Field(default="", max_length=2000, description="the answer if nobody gives one in time")
    hours: int = Field(default=24, ge=1, le=720, description="how long an answer is waited for")

    @model_validator(mode="after")
    def _default_is_a_choice(self) -> Self:
        if self.choices and self.default and self.default not in self.choices:
            raise ValueError("the default must be one of the choices")
        return self

    def asked(self) -> Question:
        return Question(text=self.question, choices=self.choices, default=self.default, hours=self.hours)


@dataclass(frozen=True, slots=True)
class Bench:
    """What the tools work with."""

    sandbox: Sandbox
    timeout: float


def run_command(bench: Bench, asked: RunCommand) -> str:
    return told(bench.sandbox.run(Command(asked.command, timeout=bench.timeout)), bench.timeout)


def read_file(bench: Bench, asked: ReadFile) -> str:
    data = bench.sandbox.read(inside(asked.path), LARGEST_FILE)
    if b"\0" in data:
        return f"error: {asked.path} is a binary file of {len(data)} bytes"
    lines = data.decode("utf-8", "replace").splitlines()
    if asked.first_line > max(len(lines), 1):
        return f"error: {asked.path} has {len(lines)} lines"
    numbered = (f"{n:5}  {line}" for n, line in enumerate(lines[asked.first_line - 1 :], asked.first_line))
    return clip("\n".join(numbered), 3 * SHOWN) or "(the file is empty)"


def search(bench: Bench, asked: Search) -> str:
    where = shlex.quote("." if asked.path in ("", ".", "./", "/workspace") else inside(asked.path.rstrip("/")))
    grep = f"grep -rnHIE --exclude-dir=.git --exclude-dir=node_modules --exclude-dir=.venv -e {shlex.quote(asked.pattern)} -- {where}"
    found = bench.sandbox.run(Command(f"{grep} | cut -c1-300 | head -n {SEARCH_HITS}", timeout=bench.timeout))
    if found.exit_code is None:
        return f"error: the search was {told(found, bench.timeout)}"
    if found.stderr.strip() and not found.stdout.strip():
        return f"error: {clip(found.stderr.strip(), 500)}"
    return clip(found.stdout.strip(), SHOWN) or "nothing found"


def edit_file(bench: Bench, asked: EditFile) -> str:
    path = inside(asked.path)
    text = bench.sandbox.read(path, LARGEST_FILE).decode("utf-8", "surrogateescape")
    old, new = asked.old, asked.new
    if "\r\n" in text and "\r" not in old:  # the model was shown the lines without their ends
        old, new = old.replace("\n", "\r\n"), re.sub("\r?\n", "\r\n", new)
    if MARK in new and MARK not in text:
        return HIDDEN.format(path=asked.path)
    count = text.count(old)
    if count != 1:
        hint = _hint(text, asked.old, count)
        return f"error: the old text occurs {count} times in {asked.path}, and must occur exactly once. {hint}"
    bench.sandbox.write(path, text.replace(old, new).encode("utf-8", "surrogateescape"))
    return f"{asked.path} is changed"


def write_file(bench: Bench, asked: WriteFile) -> str:
    if MARK in asked.content:
        return HIDDEN.format(path=asked.path)
    data = asked.content.encode()
    bench.sandbox.write(inside(asked.path), data)
    return f"{asked.path} is written ({len(data)} bytes)"


def inside(path: str) -> str:
    """A model's path as the sandbox wants it. Raises FileProblem; `vault:` means our git directory, which is not for models."""
    short = path.removeprefix("/workspace/").removeprefix("./")
    if short.startswith("vault:"):
        raise FileProblem(f"{path[:200]!r} is not a path in the workspace: no path may begin with 'vault:'")
    return "/".join(clean_path(short))


@dataclass(frozen=True, slots=True)
class Tool:
    """Its arguments' model names, describes and checks it; `do` is None for `ask` and `finish`, which the loop itself understands."""

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
    "ask": Tool(Ask, None),
    "finish": Tool(Finish, None),
}
READING = {name: TOOLS[name] for name in ("read_file", "search")}
CHANGING = frozenset({"edit_file", "write_file"})


def specs(tools: Mapping[str, Tool]) -> tuple[ToolSpec, ...]:
    return tuple(tool.spec(name) for name, tool in tools.items())


def described(tools: Mapping[str, Tool]) -> str:
    """The tools in words, for a model that cannot be offered them."""
    offered = ((spec.name, spec.description, json.dumps(spec.parameters)) for spec in specs(tools))
    return "\n".join(f"- {name}: {what} Arguments: {shape}" for name, what, shape in offered)


def understand(tools: Mapping[str, Tool], call: ToolCall) -> Arguments | str:
    """The checked arguments, or what to tell the model."""
    tool = tools.get(call.name)
    if tool is None:
        return f"error: there is no tool {call.name[:80]!r}; there are {', '.join(tools)}"
    try:
        given = json.loads(call.arguments or "{}")
        if isinstance(given, str):  # some models encode twice
            given = json.loads(given)
        if storable_json(given) != given:
            return f"error: the arguments of {call.name} hold a NUL or a lone surrogate; write such bytes with a command (printf)"
        return tool.arguments.model_validate(given)
    except ValidationError as error:
        places = [
            f"{'.'.join(map(str, e['loc'])) or 'arguments'}: {e['msg']}" for e in error.errors(include_url=False)[:5]
        ]
        return f"error: the arguments of {call.name} are wrong: {'; '.join(places)}"[:1500]
    except (ValueError, RecursionError) as error:
        return f"error: the arguments of {call.name} are no JSON object: {error}"[:500]


def use(tools: Mapping[str, Tool], bench: Bench, name: str, asked: Arguments) -> str:
    """The tool's answer to the model, whatever it asked for."""
    do = tools[name].do
    assert do is not None
    try:
        return do(bench, asked)
    except FileProblem as problem:
        return f"error: {problem}"


def answer_to(call: ToolCall, said: str) -> Message:
    """An action that was written has no id to answer to."""
    return Message("tool", said, tool_call_id=call.id) if call.id else Message("user", said)


def sendable(message: Message) -> Message:
    """The model's answer as servers take it back: many refuse a conversation with arguments that are no JSON object, or odd names."""
    return replace(message, tool_calls=tuple(_sendable(call) for call in message.tool_calls))


def _sendable(call: ToolCall) -> ToolCall:
    try:
        readable = isinstance(json.loads(call.arguments or "{}"), dict)
    except (ValueError, RecursionError):
        readable = False
    arguments = (call.arguments or "{}") if readable else json.dumps({"unreadable": call.arguments[:1000]})
    return replace(call, name=re.sub(r"[^A-Za-z0-9_-]", "_", call.name)[:64] or "unnamed", arguments=arguments)


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

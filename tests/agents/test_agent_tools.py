"""Each tool: what it does in a real sandbox, and what a wrong request is told."""

from __future__ import annotations

import json

import pytest

from agents import tools
from agents.ports import Command, CommandResult, Message, Sandbox, ToolCall
from agents.sandbox.recorded import RecordedSandbox
from agents.tools import TOOLS, Bench


def use(sandbox: Sandbox, name: str, raw: str | None = None, **arguments: object) -> str:
    asked = tools.understand(TOOLS, ToolCall("c1", name, json.dumps(arguments) if raw is None else raw))
    return asked if isinstance(asked, str) else tools.use(TOOLS, Bench(sandbox, 20.0), name, asked)


def test_a_file_is_written_found_read_and_edited(box: Sandbox) -> None:
    code = "import os\n\n\ndef greet(name):\n    return 'hello ' + name\n"
    assert use(box, "write_file", path="src/app.py", content=code) == "src/app.py is written (56 bytes)"
    assert use(box, "search", pattern=r"def \w+\(") == "./src/app.py:4:def greet(name):"
    assert use(box, "edit_file", path="src/app.py", old="'hello '", new="'hi '") == "src/app.py is changed"
    assert (
        use(box, "read_file", path="src/app.py", first_line=4)
        == "    4  def greet(name):\n    5      return 'hi ' + name"
    )
    assert use(box, "run_command", command="python3 -c 'import app; print(app.greet(1))'").startswith("exit code 1\n")
    assert use(box, "run_command", command="cat src/app.py | tail -1") == "exit code 0\nreturn 'hi ' + name"


@pytest.mark.parametrize("path", ["a.py", "./a.py", "/workspace/a.py"])
def test_the_ways_in_which_models_write_a_path(box: Sandbox, path: str) -> None:
    use(box, "write_file", path="a.py", content="x = 1\n")
    assert use(box, "read_file", path=path) == "    1  x = 1"
    assert use(box, "search", pattern="x =", path=path) == "a.py:1:x = 1"


@pytest.mark.parametrize(
    "path", ["../../etc/passwd", "/etc/passwd", "a/../../b", "", "/workspace/../etc/passwd", "a\nb/.."]
)
@pytest.mark.parametrize("name", ["read_file", "write_file", "edit_file"])
def test_a_path_that_leads_out_is_refused(box: Sandbox, name: str, path: str) -> None:
    rest = {"read_file": {}, "write_file": {"content": "x"}, "edit_file": {"old": "x", "new": "y"}}[name]
    assert "is not a relative path in the workspace" in use(box, name, path=path, **rest)


def test_a_search_does_not_lead_out_either(box: Sandbox) -> None:
    assert use(box, "search", pattern="root", path="../../etc/passwd").startswith("error: '../../etc/passwd' is not")
    assert use(box, "search", pattern="root", path="/etc").startswith("error: '/etc' is not")


@pytest.mark.parametrize(
    "path", ["vault:config", "./vault:config", "/workspace/vault:config", "/workspace/./vault:config"]
)
def test_our_git_directory_is_closed_to_the_model(box: Sandbox, path: str) -> None:
    assert box.run(Command('git init -q --bare "$VAULT"', vault=True)).ok
    before = box.read("vault:config")
    assert use(box, "read_file", path=path).startswith("error: ")
    assert use(box, "write_file", path=path, content="[core]\n\tfsmonitor = touch x\n").startswith("error: ")
    assert use(box, "edit_file", path=path, old="bare", new="b").startswith("error: ")
    assert use(box, "search", pattern="core", path=path).startswith("error: ")
    assert box.read("vault:config") == before


def test_a_link_out_of_the_workspace_is_refused(box: Sandbox) -> None:
    assert box.run(Command("ln -s /etc/passwd link; mkfifo pipe; mkdir folder")).ok
    assert "links are not followed" in use(box, "read_file", path="link")
    assert "cannot be written: it is a link" in use(box, "write_file", path="link", content="x")
    assert "a pipe or a device" in use(box, "read_file", path="pipe")
    assert "is a folder" in use(box, "read_file", path="folder")
    assert "no such file" in use(box, "read_file", path="missing.py")


@pytest.mark.parametrize(
    "pattern", ["'; touch pwned; '", "$(touch pwned)", "`touch pwned`", "-e x --include=pwned", "a\nb", '"']
)
def test_a_pattern_is_never_a_command(box: Sandbox, pattern: str) -> None:
    use(box, "write_file", path="a.txt", content="nothing to see\n")
    assert use(box, "search", pattern=pattern) in ("nothing found", "./a.txt:1:nothing to see")
    assert box.run(Command("ls")).stdout == "a.txt\n"


def test_a_search_says_what_is_wrong_with_it(box: Sandbox) -> None:
    assert "Unmatched" in use(box, "search", pattern="def (")
    assert "No such file" in use(box, "search", pattern="x", path="nowhere")
    slow = RecordedSandbox(results={"grep": CommandResult(None, "", timed_out=True)})
    assert "ran longer than 20 seconds" in use(slow, "search", pattern="x")


def test_a_long_line_and_many_hits_are_cut(box: Sandbox) -> None:
    use(box, "write_file", path="a.txt", content="\n".join(["x" * 2000] * 300))
    found = use(box, "search", pattern="x")
    assert len(found) < 8_100
    assert "characters left out" in found


FILE = "def one():\n    return 1\n\n\ndef two():\n    return 1\n"


@pytest.mark.parametrize(
    ("old", "told"),
    [
        ("    return 1\n", "occurs 2 times in a.py, and must occur exactly once. Quote more"),
        (
            "def one():\n  return 1",
            "occurs 0 times in a.py, and must occur exactly once. Nearest lines:\n1: def one():",
        ),
        ("def three():", "occurs 0 times in a.py, and must occur exactly once. Read the file again"),
        ("\n   \n", "occurs 0 times"),
    ],
)
def test_an_edit_that_does_not_fit_changes_nothing_and_says_why(old: str, told: str) -> None:
    box = RecordedSandbox({"a.py": FILE})
    assert told in use(box, "edit_file", path="a.py", old=old, new="x")
    assert box.files["a.py"] == FILE.encode()


def test_an_edit_keeps_bytes_and_line_ends_that_it_does_not_touch() -> None:
    box = RecordedSandbox({"a.txt": b"\xff one\r\ntwo\r\nthree\r\n"})
    assert use(box, "edit_file", path="a.txt", old="two\nthree", new="2\n3\n4") == "a.txt is changed"
    assert box.files["a.txt"] == b"\xff one\r\n2\r\n3\r\n4\r\n"


def test_a_binary_file_is_named_instead_of_shown() -> None:
    box = RecordedSandbox({"a.png": b"\x89PNG\x00\x00", "empty": b""})
    assert use(box, "read_file", path="a.png") == "error: a.png is a binary file of 6 bytes"
    assert use(box, "read_file", path="empty") == "(the file is empty)"
    assert use(box, "read_file", path="empty", first_line=2) == "error: empty has 0 lines"


@pytest.mark.parametrize(
    ("name", "raw", "told"),
    [
        (
            "teleport",
            "{}",
            "there is no tool 'teleport'; there are run_command, read_file, search, edit_file, write_file, ask, finish",
        ),
        ("\ud800" * 200, "{}", "there is no tool"),
        ("read_file", "{", "are no JSON object"),
        ("read_file", "[" * 100_000, "are no JSON object"),
        ("read_file", "", "path: Field required"),
        ("read_file", "[]", "Input should be a valid dictionary"),
        ("read_file", '{"path": 7}', "path: Input should be a valid string"),
        ("read_file", '{"path": "a", "first_line": 0}', "first_line: Input should be greater than or equal to 1"),
        ("read_file", '{"path": "a", "mode": "rw"}', "mode: Extra inputs are not permitted"),
        ("run_command", '{"command": ""}', "command: String should have at least 1 character"),
        ("run_command", '{"command": "a\\u0000b"}', "NUL or a lone surrogate"),
        ("edit_file", '{"path": "a", "old": "x", "new": "\\ud800"}', "NUL or a lone surrogate"),
        ("finish", '{"success": "perhaps"}', "success: Input should be a valid boolean"),
        (
            "finish",
            json.dumps({"success": True, "evidence": ["x" * 3000]}),
            "evidence.0: String should have at most 2000",
        ),
    ],
)
def test_a_wrong_request_is_answered_with_what_is_wrong(name: str, raw: str, told: str) -> None:
    box = RecordedSandbox()
    said = use(box, name, raw=raw)
    assert said.startswith("error: ")
    assert told in said
    assert len(said) <= 1_500
    assert box.commands == []


def test_arguments_that_are_encoded_twice_are_understood() -> None:
    assert use(RecordedSandbox({"a": "x"}), "read_file", raw='"{\\"path\\": \\"a\\"}"') == "    1  x"


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (CommandResult(0, "out", "err"), "exit code 0\nout\nerr"),
        (CommandResult(3), "exit code 3"),
        (
            CommandResult(127, "", "bash: foo: command not found"),
            "exit code 127 (a program was not found)\nbash: foo: command not found",
        ),
        (CommandResult(None, "so far", timed_out=True), "ended by us: it ran longer than 9 seconds\nso far"),
        (CommandResult(None, "", limit="memory: 4096 MiB"), "ended by a limit: memory: 4096 MiB"),
    ],
)
def test_a_result_is_told_in_words(result: CommandResult, told: str) -> None:
    assert tools.told(result, 9.0) == told


def test_a_long_output_keeps_head_and_tail_and_says_what_is_missing() -> None:
    said = tools.told(CommandResult(1, "BEGIN" + "x" * 100_000 + "END"), 9.0)
    assert said.startswith("exit code 1\nBEGIN")
    assert said.endswith("END")
    assert "[… 92008 characters left out …]" in said


def test_what_the_model_sent_is_made_fit_to_be_sent_back() -> None:
    calls = (
        ToolCall("1", "read file!", "{broken"),
        ToolCall("2", "search", ""),
        ToolCall("3", "search", '{"pattern": "x"}'),
    )
    sent = tools.sendable(Message("assistant", "", calls)).tool_calls
    assert [call.name for call in sent] == ["read_file_", "search", "search"]
    assert [json.loads(call.arguments) for call in sent] == [{"unreadable": "{broken"}, {}, {"pattern": "x"}]


def test_every_tool_has_a_description_and_a_closed_schema() -> None:
    for spec in tools.specs(TOOLS):
        assert spec.description
        assert spec.parameters["type"] == "object"
        assert spec.parameters["additionalProperties"] is False


def test_a_default_that_is_none_of_the_choices_is_refused() -> None:
    said = use(RecordedSandbox(), "ask", raw='{"question": "x?", "choices": ["a"], "default": "b"}')
    assert "the default must be one of the choices" in said

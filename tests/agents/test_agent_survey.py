"""What the planner sees of a repository, and which checks a repository shows by itself."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from agents.checking import as_check, discover_checks, missing_program
from agents.errors import FileProblem, Transient
from agents.ports import Command, CommandResult, Sandbox
from agents.sandbox.recorded import RecordedSandbox
from agents.survey import survey, tracked_files

ADD = 'git init -q --bare "$VAULT" && git --git-dir="$VAULT" --work-tree=. add -A'
UNITTEST = "import unittest\n"


def commit(box: Sandbox, files: Mapping[str, str], script: str = "true") -> None:
    for path, text in files.items():
        box.write(path, text.encode())
    made = box.run(Command(f"{script} && {ADD}", vault=True))
    assert made.ok, made.output


def test_files_readme_conventions_and_test_commands_are_seen(box: Sandbox) -> None:
    commit(
        box,
        {
            "README.md": "# Shop\n" + "r" * 9000,
            "AGENTS.md": "Use tabs.\n" + "a" * 9000,
            "shop/vat.py": "x = 1",
            "tests/test_vat.py": UNITTEST,
            "docs/README.md": "not this one",
        },
    )
    box.write("untracked.txt", b"x")
    seen = survey(box)
    assert seen.startswith(
        "Files (5):\nAGENTS.md\nREADME.md\ndocs/README.md\nshop/vat.py\ntests/test_vat.py\n\nREADME.md:\n# Shop\n"
    )
    assert "AGENTS.md:\nUse tabs.\n" in seen
    assert (seen.count("r" * 3990), seen.count("r" * 4000)) == (1, 0)
    assert (seen.count("a" * 7980), seen.count("a" * 8000)) == (1, 0)
    assert seen.endswith("Test commands that the repository shows:\npython3 -m unittest discover -s tests -t .")
    assert "untracked" not in seen
    assert "not this one" not in seen


def test_a_large_repository_is_counted_whole_and_shown_in_part(box: Sandbox) -> None:
    many = "for n in $(seq 10000 14999); do echo > a-file-with-quite-a-long-name-so-that-the-list-is-clipped-$n; done"
    commit(box, {}, many)
    files = tracked_files(box)
    assert len(files) == 5000
    assert all(name.startswith("a-file-with") for name in files)
    seen = survey(box)
    assert seen.startswith("Files (5000):\n")
    assert seen.endswith("… and 4600 more files")
    assert len(seen) < 30_000


def test_an_empty_repository_is_called_empty(box: Sandbox) -> None:
    commit(box, {})
    assert survey(box) == "The repository is empty."


def test_odd_names_and_a_readme_that_is_a_link_do_no_harm(box: Sandbox) -> None:
    commit(
        box, {"ü.txt": "x"}, "ln -s /etc/passwd README.md && touch $'two\\nlines' && mkdir -p 'a b' && touch 'a b/c'"
    )
    assert tracked_files(box) == ["README.md", "a b/c", '"two\\nlines"', "ü.txt"]
    seen = survey(box)
    assert "root:" not in seen
    assert "links are not followed" in seen


def test_a_workspace_that_cannot_be_listed_may_be_tried_again() -> None:
    box = RecordedSandbox(results={"ls-files": CommandResult(128, "", "fatal: not a git repository")})
    with pytest.raises(Transient, match="not a git repository"):
        survey(box)


@pytest.mark.parametrize(
    ("files", "checks"),
    [
        ({}, []),
        ({"a.py": ""}, []),
        ({"tests/test_a.py": UNITTEST}, ["python3 -m unittest discover -s tests -t ."]),
        ({"test/test_a.py": UNITTEST}, ["python3 -m unittest discover -s test -t ."]),
        ({"test_a.py": UNITTEST}, ["python3 -m unittest discover"]),
        ({"tests/test_a.py": "import pytest"}, ["python3 -m pytest -q"]),
        ({"tests/test_a.py": "from pytest import raises"}, ["python3 -m pytest -q"]),
        ({"tests/test_a.py": "# import pytest"}, ["python3 -m unittest discover -s tests -t ."]),
        ({"tests/test_a.py": "", "pytest.ini": ""}, ["python3 -m pytest -q"]),
        ({"tests/test_a.py": "", "tests/conftest.py": ""}, ["python3 -m pytest -q"]),
        ({"tests/test_a.py": "", "pyproject.toml": "[tool.pytest.ini_options]\n"}, ["python3 -m pytest -q"]),
        ({"tests/test_a.py": "", "pyproject.toml": "[project]\n"}, ["python3 -m unittest discover -s tests -t ."]),
        ({"pytest.ini": ""}, []),
        ({"package.json": '{"scripts": {"test": "jest"}}'}, ["npm test --silent"]),
        ({"package.json": '{"scripts": {"test": "echo \\"Error: no test specified\\" && exit 1"}}'}, []),
        ({"package.json": "{}"}, []),
        ({"package.json": '{"scripts": {"test": 1}}'}, []),
        ({"package.json": '{"scripts": [1]}'}, []),
        ({"package.json": "[" * 100_000}, []),
        ({"package.json": "not json"}, []),
        ({"go.mod": "module x"}, ["go test ./..."]),
        ({"Cargo.toml": ""}, ["cargo test --quiet"]),
        ({"Makefile": "all:\n\ttrue\ntest: all\n\ttrue\n"}, ["make test"]),
        ({"Makefile": "all:\n\techo test:\n"}, []),
        ({"package.json": '{"scripts": {"test": "jest"}}', "Makefile": "test:\n"}, ["npm test --silent"]),
        (
            {"tests/test_a.py": UNITTEST, "package.json": '{"scripts": {"test": "jest"}}'},
            ["python3 -m unittest discover -s tests -t ."],
        ),
    ],
)
def test_the_checks_that_a_repository_shows(files: dict[str, str], checks: list[str]) -> None:
    assert discover_checks(sorted(files), lambda path: files[path].encode()) == checks


def test_a_file_that_cannot_be_read_shows_no_check() -> None:
    def unreadable(path: str) -> bytes:
        raise FileProblem(f"{path} is a link")

    assert discover_checks(["package.json", "Makefile"], unreadable) == []


@pytest.mark.parametrize(
    ("result", "missing"),
    [
        (CommandResult(0, "", "bash: foo: command not found"), ""),
        (CommandResult(1, "", "assertion failed"), ""),
        (CommandResult(127, "", "bash: line 1: cargo: command not found"), "cargo"),
        (CommandResult(127, "", "/bin/sh: 1: npm: not found"), "npm"),
        (CommandResult(1, "", "/usr/bin/python3: No module named pytest"), "pytest"),
        (CommandResult(127, "", ""), "a program"),
        (CommandResult(127, "", "1" * 400_000), "a program"),
        (CommandResult(127, "x" * 64_000 + "\nbash: line 9: go: command not found", ""), "go"),
        (CommandResult(127, "", "/usr/bin/env: \u2018node\u2019: No such file or directory"), "node"),
        (
            CommandResult(127, "", "timeout: failed to run command \u2018cargo\u2019: No such file or directory"),
            "cargo",
        ),
        (CommandResult(2, "", "/bin/sh: 1: jest: not found\nmake: *** [Makefile:2: test] Error 127"), "jest"),
        (CommandResult(2, "", "make: jest: No such file or directory\nmake: *** [Makefile:2: test] Error 127"), "jest"),
        (CommandResult(2, "", "make: *** [Makefile:2: test] Error 1"), ""),
        (CommandResult(127, "", "bash: line 1: .venv/bin/pytest: No such file or directory"), ".venv/bin/pytest"),
        (CommandResult(127, "", "bash: line 1: /opt/go/bin/go: No such file or directory"), "/opt/go/bin/go"),
        (CommandResult(127, "", "bash: hello.sh: No such file or directory"), ""),
        (CommandResult(127, "", "bash: line 1: ./hello.sh: No such file or directory"), ""),
        (CommandResult(1, "", "/usr/bin/python3: No module named hello"), ""),
    ],
)
def test_a_program_that_the_sandbox_lacks_is_told_from_a_file_that_the_work_should_make(
    result: CommandResult, missing: str
) -> None:
    assert missing_program(result) == missing


def test_a_check_may_say_more_than_is_kept_of_it() -> None:
    loud = CommandResult(1, "x" * 131_100, "y" * 131_100 + "the end")
    output = as_check("./loud", "person", "", loud).output
    assert output.startswith("xxx")
    assert output.endswith("the end")

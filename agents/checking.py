"""PURE: checks, what they say, and which ones a repository shows by itself."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from .contracts import CheckResult
from .counts import counts_of, counts_of_report
from .errors import FileProblem
from .ports import CommandResult
from .tools import clip

# how shells, and programs that start others, say that there is no such program
NOT_FOUND = re.compile(
    r"(?:bash|sh|line \d+|\d+): (\S+?): (?:command )?not found"
    r"|(?:env|timeout|nice|nohup|setsid|xargs|make(?:\[\d+\])?): (?:failed to run command )?\W?([\w.+-]+)\W?: No such file"
)
NO_FILE = re.compile(r"(\S+): (?:No such file or directory|cannot execute: required file not found)")
MAKE_GAVE_UP = re.compile(r"^make(?:\[\d+\])?: \*\*\* .*Error 127$", re.MULTILINE)
NO_MODULE_RUN = re.compile(r"^\S*python\S*: No module named (\S+)", re.MULTILINE)
# modules that are tools; any other may be the very thing that the goal asks for
TOOL_MODULES = frozenset({
    "bandit", "behave", "black", "build", "coverage", "django", "flake8", "isort", "mypy", "nose", "nose2", "nox", "pylint",
    "pyright", "pytest", "robot", "ruff", "tox",
})  # fmt: skip
OWN_TOOLS = (".venv/", "venv/", "node_modules/")  # what a set-up makes and no commit holds
OUTPUT_KEPT = 100_000  # characters of a check's output, from its head and its tail
LAST_WORDS = 2_000  # characters that are searched; on more, made for it, the search takes minutes

# what a check reads to judge: restored from the base commit before the final checks, so that nobody edits the exam
CHECK_FILES = (
    "tests/**", "test/**", "**/tests/**", "**/test/**", "spec/**", "**/__tests__/**",
    "**/test_*.py", "**/*_test.py", "**/*_test.go", "**/*.test.*", "**/*.spec.*", "**/conftest.py",
)  # fmt: skip
# names that change what a runner does wherever they turn up: a new one is removed before the final checks
HARNESS_FILES = (
    "conftest.py", "pytest.ini", "tox.ini", ".coveragerc", "sitecustomize.py", "usercustomize.py",
    "jest.config.js", "jest.config.ts", "vitest.config.ts", "vitest.config.js", ".mocharc.js", ".mocharc.json",
)  # fmt: skip

# where the discovered commands find what they run
DEFINED_IN = {
    "make test": ("Makefile",),
    "npm test --silent": ("package.json",),
    "python3 -m pytest -q": ("pyproject.toml", "setup.cfg"),
}


def exam_files(checks: Sequence[CheckResult]) -> tuple[str, ...]:
    """Globs of what judges; a discovered check's definition is part of it, a person's own command may be about that very file."""
    discovered = [check.command for check in checks if check.origin == "discovered"]
    return (*CHECK_FILES, *(name for command in discovered for name in DEFINED_IN.get(command, ())))


def as_check(
    command: str, origin: Any, commit: str, result: CommandResult, report: bytes = b"", environment: str = ""
) -> CheckResult:
    """One check's run as evidence. `report`: the JUnit XML that it has written."""
    return CheckResult(
        command=command,
        origin=origin,
        passed=result.ok,
        exit_code=result.exit_code,
        timed_out=result.timed_out,
        missing=missing_program(result),
        counts=(counts_of_report(report) if report else None) or counts_of(result.output),
        output=clip(result.output, OUTPUT_KEPT) + (f"\n[ended by a limit: {result.limit}]" if result.limit else ""),
        commit=commit,
        environment=environment,
    )


def missing_program(result: CommandResult) -> str:
    """The program (or Python tool) that the sandbox lacks, or an empty text. A file that the work itself should make is no program."""
    stderr, stdout = result.stderr[-LAST_WORDS:], result.stdout[-LAST_WORDS:]
    if result.exit_code == 1 and (found := NO_MODULE_RUN.search(stderr)):
        return found[1] if found[1] in TOOL_MODULES else ""
    if result.exit_code != 127 and not (result.exit_code == 2 and MAKE_GAVE_UP.search(stderr)):
        return ""
    if found := NOT_FOUND.search(stderr) or NOT_FOUND.search(stdout):
        return (found[1] or found[2])[:200]
    if found := NO_FILE.search(stderr):
        return found[1][:200] if _is_tool(found[1]) else ""
    return "a program"


def _is_tool(path: str) -> bool:
    outside = path.startswith("/") and "/workspace/" not in path
    return outside or path.removeprefix("./").startswith(OWN_TOOLS)


def discover_checks(paths: Sequence[str], read: Callable[[str], bytes]) -> list[str]:
    """The test commands that a repository shows; the first language that fits."""
    names = set(paths)
    python = _python_check(paths, names, read)
    if python:
        return [python]
    if "package.json" in names and _has_npm_test(_text(read, "package.json")):
        return ["npm test --silent"]
    if "go.mod" in names:
        return ["go test ./..."]
    if "Cargo.toml" in names:
        return ["cargo test --quiet"]
    if "Makefile" in names and re.search(r"^test:", _text(read, "Makefile"), re.MULTILINE):
        return ["make test"]
    return []


def _python_check(paths: Sequence[str], names: set[str], read: Callable[[str], bytes]) -> str:
    tests = [path for path in paths if re.search(r"(^|/)(test_[^/]*|[^/]*_test)\.py$", path)]
    if not tests:
        return ""
    configured = "pytest.ini" in names or "conftest.py" in {path.rsplit("/", 1)[-1] for path in paths}
    configured = configured or "[tool.pytest" in _text(read, "pyproject.toml" if "pyproject.toml" in names else "")
    if configured or any(
        re.search(r"^\s*(import|from) pytest", _text(read, path), re.MULTILINE) for path in tests[:20]
    ):
        return "python3 -m pytest -q"
    folder = next((place for place in ("tests", "test") if any(path.startswith(f"{place}/") for path in tests)), "")
    return f"python3 -m unittest discover -s {folder} -t ." if folder else "python3 -m unittest discover"


def _has_npm_test(text: str) -> bool:
    try:
        script = json.loads(text).get("scripts", {}).get("test", "")
    except (ValueError, AttributeError, RecursionError):
        return False
    return isinstance(script, str) and bool(script) and "no test specified" not in script


def _text(read: Callable[[str], bytes], path: str) -> str:
    if not path:
        return ""
    try:
        return read(path).decode("utf-8", "replace")
    except FileProblem:
        return ""

"""PURE: what a check's output says in numbers, where its runner is known: pytest, unittest, go, cargo, node, or a JUnit XML report.

A check's exit code alone decides whether it passed: output is written by the code under test, which may print what it likes. Counts
are shown, and the names of failures tell whether a check that was red before fails at something new.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from .contracts import Counts

SEARCHED = 200_000  # characters, from the end: where summaries are
MOST_NAMES = 200
LONGEST_NAME = 300
REPORT_BYTES = 5_000_000

WORDS = {
    "passed": "passed", "passing": "passed", "pass": "passed", "ok": "passed", "xpassed": "passed",
    "failed": "failed", "failing": "failed", "fail": "failed", "failures": "failed", "error": "failed", "errors": "failed",
    "skipped": "skipped", "skip": "skipped", "ignored": "skipped", "pending": "skipped", "todo": "skipped", "xfailed": "skipped",
}  # fmt: skip
PAIR = re.compile(r"(\d{1,9}) ([a-z]+)")
PYTEST = re.compile(r"^(?:=+ )?((?:\d+ [a-z]+(?:, )?)+) in [\d.]+s\b")
PYTEST_NAME = re.compile(r"^(?:FAILED|ERROR) (\S.*?)(?: - .*)?$")
UNITTEST_RAN = re.compile(r"^Ran (\d{1,9}) tests? in ")
UNITTEST_END = re.compile(r"^(OK|FAILED|NO TESTS RAN)(?: \(([^)]*)\))?$")
UNITTEST_NAME = re.compile(r"^(?:FAIL|ERROR): (\S.*)$")
GO_LINE = re.compile(r"^\s*--- (PASS|FAIL|SKIP): (\S+)")
GO_PACKAGE = re.compile(r"^(ok|FAIL)\s+(\S+)\s+(?:[\d.]+s|\(cached\)|\[build failed\])")
CARGO = re.compile(r"^test result: (?:ok|FAILED)\. (.*)$")
CARGO_NAME = re.compile(r"^test (\S.*?) \.\.\. FAILED$")
TAP_TOTAL = re.compile(r"^(?:#|ℹ) (pass|fail|skipped|todo) (\d{1,9})$")  # noqa: RUF001 - as node prints it
TAP_NAME = re.compile(r"^\s*not ok \d+ - (.*?)(?: # .*)?$")
JEST = re.compile(r"^\s*Tests:?\s+(\d.*)$")
MOCHA = re.compile(r"^\s+(\d{1,9}) (passing|failing|pending)\b")
NODE_NAME = re.compile(r"^\s*(?:●|✕|✖|×) (\S.*)$")  # noqa: RUF001 - as jest, vitest and mocha print it
REPORT = re.compile(r"--junit-?xml[= ]([\w./-]+)")


def counts_of(output: str) -> Counts | None:
    """The numbers of the runner whose summary the output ends with; None for one that is not known."""
    lines = output[-SEARCHED:].splitlines()
    for reader in (_pytest, _unittest, _cargo, _node, _go):
        if counts := reader(lines):
            return counts
    return None


def report_named_in(command: str) -> str:
    """The JUnit XML file that a command writes, or an empty text."""
    found = REPORT.search(command)
    return found[1] if found else ""


def counts_of_report(report: bytes) -> Counts | None:
    """A JUnit XML report's numbers; None for what is none, or has entities in it."""
    try:
        root = fromstring(report[:REPORT_BYTES])
    except (ParseError, DefusedXmlException, ValueError):
        return None
    cases = list(root.iter("testcase"))
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = [case for case in cases if case.find("skipped") is not None]
    if not cases:
        return None
    return _counts("junit", len(cases) - len(failed) - len(skipped), len(failed), len(skipped), map(_case_name, failed))


def _case_name(case: Element) -> str:
    return "::".join(part for part in (case.get("classname", ""), case.get("name", "")) if part)


def _pytest(lines: list[str]) -> Counts | None:
    last = next((found[1] for line in reversed(lines) if (found := PYTEST.match(line))), None)
    return _from_words("pytest", last, _names(lines, PYTEST_NAME)) if last else None


def _unittest(lines: list[str]) -> Counts | None:
    ran = next((int(found[1]) for line in reversed(lines) if (found := UNITTEST_RAN.match(line))), None)
    end = next((found for line in reversed(lines) if (found := UNITTEST_END.match(line))), None)
    if ran is None or end is None:
        return None
    said = dict(part.split("=", 1) for part in (end[2] or "").split(", ") if "=" in part)
    number = {name: int(value) for name, value in said.items() if value.isdecimal() and len(value) < 10}
    failed = number.get("failures", 0) + number.get("errors", 0) + number.get("unexpected successes", 0)
    skipped = number.get("skipped", 0) + number.get("expected failures", 0)
    return _counts("unittest", max(0, ran - failed - skipped), failed, skipped, _names(lines, UNITTEST_NAME))


def _cargo(lines: list[str]) -> Counts | None:
    parts = [found[1] for line in lines if (found := CARGO.match(line))]  # one a test binary
    return _from_words("cargo", ", ".join(parts), _names(lines, CARGO_NAME)) if parts else None


def _node(lines: list[str]) -> Counts | None:
    names = [*_names(lines, TAP_NAME), *_names(lines, NODE_NAME)]
    totals = [f"{found[2]} {found[1]}" for line in lines if (found := TAP_TOTAL.match(line))]
    totals = totals or [f"{found[1]} {found[2]}" for line in lines if (found := MOCHA.match(line))]
    if not totals:
        totals = [found[1] for line in reversed(lines) if (found := JEST.match(line))][:1]
    return _from_words("node", ", ".join(totals), names) if totals else None


def _go(lines: list[str]) -> Counts | None:
    """With -v its tests are counted, else its packages."""
    found = [match for line in lines if (match := GO_LINE.match(line))]
    if any(match[1] == "PASS" for match in found):
        tests = [match[1] for match in found]
        counted = (tests.count("PASS"), tests.count("FAIL"), tests.count("SKIP"))
    else:
        packages = [match[1] for line in lines if (match := GO_PACKAGE.match(line))]
        counted = (packages.count("ok"), packages.count("FAIL"), 0)
    names = [match[2] for match in found if match[1] == "FAIL"]
    return _counts("go", *counted, names) if any(counted) else None


def _from_words(runner: str, text: str, names: Iterable[str]) -> Counts | None:
    sums = {"passed": 0, "failed": 0, "skipped": 0}
    for number, word in PAIR.findall(text):
        if word in WORDS:
            sums[WORDS[word]] += int(number)
    return _counts(runner, sums["passed"], sums["failed"], sums["skipped"], names) if any(sums.values()) else None


def _counts(runner: str, passed: int, failed: int, skipped: int, names: Iterable[str]) -> Counts:
    kept = sorted({name[:LONGEST_NAME] for name in names})[:MOST_NAMES]
    return Counts(runner=runner, passed=passed, failed=failed, skipped=skipped, failures=kept)


def _names(lines: Iterable[str], pattern: re.Pattern[str]) -> list[str]:
    return [found[1] for line in lines if len(line) < 2000 and (found := pattern.match(line))]

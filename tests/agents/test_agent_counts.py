"""What a check's output says in numbers. The outputs are what the runners print."""

from __future__ import annotations

import pytest

from agents.checking import as_check
from agents.counts import counts_of, counts_of_report, report_named_in
from agents.ports import CommandResult

PYTEST = """.F.sE
=========================== short test summary info ============================
FAILED tests/test_a.py::test_price - assert 1 == 2
ERROR tests/test_b.py::test_shop
1 failed, 2 passed, 1 skipped, 1 error in 0.12s
"""
PYTEST_LONG = "==== 3 passed, 2 xfailed, 1 warning in 12.01s (0:00:12) ====\n"
UNITTEST = """F.
======================================================================
FAIL: test_price (tests.test_a.Shop.test_price)
----------------------------------------------------------------------
Ran 4 tests in 0.001s

FAILED (failures=1, errors=1, skipped=1)
"""
GO = "--- FAIL: TestPrice (0.00s)\n    a_test.go:9: no\n--- PASS: TestShop (0.00s)\nFAIL\nFAIL\texample.org/shop\t0.002s\n"
GO_PACKAGES = "ok  \texample.org/shop\t0.002s\nok  \texample.org/till\t(cached)\nFAIL\texample.org/x [build failed]\n"
CARGO = """test shop::price ... FAILED
test result: FAILED. 4 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s
test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
"""
NODE = "not ok 2 - price is wrong\n# tests 3\n# pass 2\n# fail 1\n# skipped 0\n"
JEST = "  ● shop price\nTests:       1 failed, 1 skipped, 5 passed, 7 total\nTime: 1 s\n"
VITEST = " ✕ shop > price\n      Tests  1 failed | 4 passed (5)\n"
MOCHA = "  5 passing (12ms)\n  1 pending\n  2 failing\n"


@pytest.mark.parametrize(
    ("output", "runner", "numbers", "failures"),
    [
        (PYTEST, "pytest", (2, 2, 1), ["tests/test_a.py::test_price", "tests/test_b.py::test_shop"]),
        (PYTEST_LONG, "pytest", (3, 0, 2), []),
        (UNITTEST, "unittest", (1, 2, 1), ["test_price (tests.test_a.Shop.test_price)"]),
        ("Ran 3 tests in 0.0s\n\nOK\n", "unittest", (3, 0, 0), []),
        (GO, "go", (1, 1, 0), ["TestPrice"]),
        (GO_PACKAGES, "go", (2, 1, 0), []),
        (CARGO, "cargo", (5, 1, 2), ["shop::price"]),
        (NODE, "node", (2, 1, 0), ["price is wrong"]),
        (JEST, "node", (5, 1, 1), ["shop price"]),
        (VITEST, "node", (4, 1, 0), ["shop > price"]),
        (MOCHA, "node", (5, 2, 1), []),
    ],
)
def test_each_runner_is_read(output: str, runner: str, numbers: tuple[int, ...], failures: list[str]) -> None:
    counts = counts_of("some words before\n" + output)
    assert counts is not None
    assert (counts.runner, (counts.passed, counts.failed, counts.skipped)) == (runner, numbers)
    assert counts.failures == failures


@pytest.mark.parametrize("output", ["", "all is well\n", "Ran away\nOK\n", "passed\n", "1 2 3 in 4\n", "# pass \n"])
def test_what_is_no_runners_summary_has_no_numbers(output: str) -> None:
    assert counts_of(output) is None


def test_an_output_made_to_be_slow_is_read_all_the_same() -> None:
    """Twenty million comparisons would be seconds; a line too long for a name is no name."""
    hostile = "FAILED " + "a - " * 50_000 + "\n" + "1 passed, " * 20_000 + "\n1 failed in 0.1s\n"
    counts = counts_of(hostile)
    assert counts is not None
    assert (counts.failed, counts.failures) == (1, [])


REPORT = b"""<testsuites><testsuite tests="3"><testcase classname="a.B" name="one"/><testcase classname="a.B" name="two">
<failure message="no"/></testcase><testcase name="three"><skipped/></testcase></testsuite></testsuites>"""


def test_a_junit_report_is_read() -> None:
    counts = counts_of_report(REPORT)
    assert counts is not None
    assert (counts.runner, counts.passed, counts.failed, counts.skipped) == ("junit", 1, 1, 1)
    assert counts.failures == ["a.B::two"]


@pytest.mark.parametrize(
    "report",
    [b"", b"no xml", b"<testsuite/>", b'<!DOCTYPE a [<!ENTITY x "y">]><testsuite><testcase name="&x;"/></testsuite>'],
)
def test_what_is_no_report_or_has_entities_is_left_alone(report: bytes) -> None:
    assert counts_of_report(report) is None


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("pytest --junitxml=out/report.xml -q", "out/report.xml"),
        ("pytest --junit-xml report.xml", "report.xml"),
        ("pytest -q", ""),
    ],
)
def test_the_report_is_where_the_command_says(command: str, file: str) -> None:
    assert report_named_in(command) == file


def test_the_exit_code_decides_whatever_the_output_claims() -> None:
    result = CommandResult(exit_code=1, stdout="9 passed in 0.1s\n", stderr="")
    check = as_check("pytest", "person", "c", result, report=REPORT)
    assert not check.passed
    assert check.counts is not None
    assert check.counts.runner == "junit", "a report says more than the words on the screen"

"""The command itself, on three of the shipped cases: an executor that is always wrong, and a reviewer that approves everything."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.evaluation.report import Found, compared, report, totals
from tests.support.installation import BASE


@pytest.mark.services
@pytest.mark.long
def test_nothing_wrong_comes_out_as_done(tmp_path: Path) -> None:
    only = [word for name in ("leap-year", "pagination", "roman") for word in ("--only", name)]
    argv = [sys.executable, "manage.py", "evaluate", "examples/eval", "--scripted", "--wrong", "1", *only]
    done = subprocess.run(
        [*argv, "--output", str(tmp_path / "r.json")], cwd=BASE, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ends = {case["case"]: case for case in json.loads((tmp_path / "r.json").read_text())["cases"]}
    assert ends["pagination"]["outcome"] == ends["roman"]["outcome"] == "failed_honestly"
    assert ends["roman"]["retries"] >= 3
    assert ends["leap-year"]["withheld"] in (False, None), "its shallow answer is told by the withheld checks alone"


def test_a_false_done_is_counted_and_compared() -> None:
    good = Found("a", "1" * 8, "solved", verified=True, withheld=True, tokens=10)
    bad = Found("a", "2" * 8, "said_done_not_solved", verified=True, tokens=30)
    assert totals([good, bad])["said_done_not_solved"] == 1
    assert totals([good])["honest_rate"] == 1
    lines = list(compared(report([good], {"model": "m"}), report([bad], {"model": "n"})))
    assert "  a: solved → SAID DONE, NOT SOLVED" in lines

"""The cases that ship: red at their base, green with the right answer, and told from the wrong ones."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from agents.llm.wrong_model import answers_in
from orchestration.evaluation.cases import Case, suite_in

pytestmark = pytest.mark.long

SUITE = Path(__file__).resolve().parents[2] / "examples" / "eval"
CASES = suite_in(SUITE)


def passes(case: Case, place: Path, answer: str, commands: tuple[str, ...], withheld: bool = False) -> bool:
    tree = place / (answer or "base")
    shutil.copytree(case.folder / "files", tree, dirs_exist_ok=True)
    if answer:
        shutil.copytree(case.folder / "answers" / answer, tree, dirs_exist_ok=True)
    for name, data in case.withheld_files().items() if withheld else ():
        (tree / name).write_bytes(data)
    ended = [subprocess.run(["bash", "-c", c], cwd=tree, capture_output=True, check=False).returncode for c in commands]
    return not any(ended)


def test_there_are_twenty() -> None:
    assert len(CASES) == 20
    assert sum(bool(case.hidden_checks) for case in CASES) >= 3


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_tells_right_from_wrong(case: Case, tmp_path: Path) -> None:
    given = (*case.checks, *case.hidden_checks)
    assert not passes(case, tmp_path, "", given), "nothing is to be done"
    assert passes(case, tmp_path, "right", given)
    assert passes(case, tmp_path, "right", case.withheld_checks, withheld=True)
    assert not passes(case, tmp_path, "wrong", given), "its wrong answer would be a right one"
    if "shallow" in answers_in(SUITE)[case.goal]:
        assert passes(case, tmp_path, "shallow", given)
        assert not passes(case, tmp_path, "shallow", case.withheld_checks, withheld=True), (
            "only the withheld checks tell"
        )

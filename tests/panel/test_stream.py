"""The live stream over a real server: replay, resume, end, rights, a Redis that is away, a client that vanishes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import redis
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connection
from django.test import AsyncClient, Client

from orchestration import broker, live, services, streaming
from orchestration.models import Budget, Goal, Membership
from tests.support.installation import Installation, until
from tests.support.people import member, outsider
from tests.support.web import WebProcess

pytestmark = [pytest.mark.services, pytest.mark.django_db(transaction=True)]
MANY = 16  # streams: more than there are connections to a PostgreSQL (DATABASE_POOL_SIZE)
Sign = tuple[str, str, Any]  # event, id, data


class Panel:
    """A panel process, its Redis, and Ana's session there."""

    def __init__(self, installation: Installation, web: WebProcess, user: User) -> None:
        self.installation, self.web, self.user = installation, web, user
        self.cookies = session_of(user)

    @contextmanager
    def listen(self, goal: Goal, after: str = "", **headers: str) -> Iterator[Iterator[Sign]]:
        """The stream's signs as they come; leaving it is what a browser does that is closed."""
        address = f"{self.web.url}/goals/{goal.pk}/stream/"
        wanted = {"Accept": "text/event-stream", **{k.replace("_", "-"): v for k, v in headers.items()}}
        timeout = httpx.Timeout(30)
        with (
            httpx.Client(cookies=self.cookies, timeout=timeout, trust_env=False) as client,
            client.stream("GET", address, params={"after": after} if after else {}, headers=wanted) as answer,
        ):
            assert answer.status_code == 200, answer.read()
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["cache-control"] == "no-store"
            yield signs(answer.iter_lines())

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(f"{self.web.url}{path}", cookies=self.cookies, headers=headers, timeout=20, trust_env=False)


def session_of(user: User) -> dict[str, str]:
    client = Client()
    client.force_login(user)
    return {"sessionid": client.cookies["sessionid"].value}


def signs(lines: Iterator[str]) -> Iterator[Sign]:
    said: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if line:
            said[name] = value
        elif "event" in said:
            yield said["event"], said.get("id", ""), json.loads(said["data"])
            said = {}
        else:
            said = {}


def next_of(stream: Iterator[Sign], event: str) -> Sign:
    return next(sign for sign in stream if sign[0] == event)


@pytest.fixture
def panel(transactional_db: None, open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Panel]:
    monkeypatch.setattr(broker, "_known", None)
    with ExitStack() as stack:
        installation = Installation(open_folder, stack)
        installation.start_redis()
        installation.env["SECRET_KEY"] = "only-for-tests"
        web = WebProcess(installation.env, open_folder, stack)
        yield Panel(installation, web, member("ana"))


@pytest.fixture
def goal(panel: Panel) -> Goal:
    return services.submit_goal("Say hello", by=panel.user)


def seq(goal: Goal) -> int:
    goal.refresh_from_db()
    return goal.event_seq


def test_what_happened_since_the_page_was_made_is_replayed_once(panel: Panel, goal: Goal) -> None:
    shown = seq(goal)
    services.pause_goal(goal.pk, reason="x")
    with panel.listen(goal, after=str(shown)) as stream:
        event, number, data = next(stream)
        assert (event, int(number), data) == ("changed", seq(goal), {"seq": seq(goal)})
        assert next(stream)[0] == "beat", "nothing is told twice"


def test_a_client_goes_on_after_the_last_id_that_it_heard(panel: Panel, goal: Goal) -> None:
    with panel.listen(goal, after="0", Last_Event_ID=str(seq(goal))) as stream:
        assert next(stream)[0] == "beat", "the header wins over the address"
        services.pause_goal(goal.pk, reason="x")
        assert next_of(stream, "changed")[1] == str(seq(goal))


@pytest.mark.parametrize("garbage", ["-1", "x", "99999999999999999999", "1e3", "٣"])
def test_a_garbled_place_means_from_the_beginning(panel: Panel, goal: Goal, garbage: str) -> None:
    with panel.listen(goal, after=garbage) as stream:
        assert next(stream)[0] == "changed"


def test_a_place_from_the_future_is_put_right(panel: Panel, goal: Goal) -> None:
    with panel.listen(goal, after="1000000") as stream:
        assert next(stream) == ("changed", str(seq(goal)), {"seq": seq(goal)})


def test_the_bell_is_heard_well_before_the_next_look(panel: Panel, goal: Goal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live.settings, "REDIS_URL", panel.installation.redis.url)
    monkeypatch.setattr(live, "_client", None)
    waits = []
    with panel.listen(goal, after=str(seq(goal))) as stream:
        next_of(stream, "beat")
        for reason in ("a", "b", "c"):
            (services.pause_goal if reason != "b" else services.resume_goal)(
                goal.pk, **({"reason": reason} if reason != "b" else {})
            )
            begun = time.monotonic()
            live.ring(str(goal.pk))
            next_of(stream, "changed")
            waits.append(time.monotonic() - begun)
    assert min(waits) < 1, "it is looked for every two seconds without a bell"


@pytest.mark.parametrize("rubbish", ["a text", "a list", "the last of all numbers"])
def test_a_bell_that_somebody_else_has_written_says_no_more_than_look(panel: Panel, goal: Goal, rubbish: str) -> None:
    client, key = redis.Redis.from_url(panel.installation.redis.url), live.bell_key(str(goal.pk))
    with panel.listen(goal, after=str(seq(goal))) as stream:
        next_of(stream, "beat")
        client.delete(key)
        if rubbish == "a text":
            client.set(key, b"\x80")
        elif rubbish == "a list":
            client.rpush(key, b"{}", b"\xff")
        else:
            client.xadd(key, {b"\xff": b"x" * 1000}, id=f"{2**64 - 1}-{2**64 - 1}")
        next_of(stream, "beat")
        services.cancel_goal(goal.pk)
        told = [event for event, _, _ in stream if event != "beat"]
        assert told == ["changed", "ended"]


def test_calls_and_commands_are_news_too(panel: Panel, goal: Goal) -> None:
    with panel.listen(goal, after=str(seq(goal))) as stream:
        next_of(stream, "beat")
        Budget.objects.filter(goal=goal).update(commands=1)
        assert next_of(stream, "changed")[1] == str(seq(goal))


def test_the_end_of_the_goal_is_the_end_of_the_stream(panel: Panel, goal: Goal) -> None:
    with panel.listen(goal, after=str(seq(goal))) as stream:
        next_of(stream, "beat")
        services.cancel_goal(goal.pk)
        told = [event for event, _, _ in stream if event != "beat"]
    assert told == ["changed", "ended"]
    with panel.listen(goal, after=str(seq(goal))) as stream:
        assert [event for event, _, _ in stream] == ["ended"]


def test_without_a_redis_the_rows_are_read_all_the_same(panel: Panel, goal: Goal) -> None:
    with panel.listen(goal, after=str(seq(goal))) as stream:
        next_of(stream, "beat")
        panel.installation.redis.stop()
        services.pause_goal(goal.pk, reason="x")
        assert next_of(stream, "changed")[1] == str(seq(goal)), "in mid-stream"
        services.resume_goal(goal.pk)
    with panel.listen(goal, after=str(seq(goal))) as stream:
        assert next(stream)[0] == "beat"
        services.pause_goal(goal.pk, reason="y")
        next_of(stream, "changed")
        panel.installation.redis.start()
        services.cancel_goal(goal.pk)
        assert next_of(stream, "ended")


def test_a_client_that_vanishes_leaves_nothing_behind(panel: Panel, goal: Goal) -> None:
    client = redis.Redis.from_url(panel.installation.redis.url)
    panel.get("/login/")
    rest = (panel.web.threads(), len(client.client_list()))
    with ExitStack() as stack:
        streams = [stack.enter_context(panel.listen(goal)) for _ in range(MANY)]
        assert {next(stream)[0] for stream in streams} == {"changed"}
        assert until(lambda: len(client.client_list()) >= rest[1] + MANY)
        assert panel.get(f"/goals/{goal.pk}/").status_code == 200, "no stream holds one of the few connections"
    assert until(lambda: len(client.client_list()) <= rest[1] + 1), "their connections to Redis are closed"
    assert until(lambda: panel.web.threads() <= rest[0] + 3), "their threads have ended"
    with panel.listen(goal) as again:
        assert next(again)[0] == "changed"
    client.close()


def test_an_open_stream_does_not_keep_the_panel_from_stopping(panel: Panel, goal: Goal) -> None:
    with panel.listen(goal) as stream:
        next(stream)
        begun = time.monotonic()
        panel.web.stop()
        assert time.monotonic() - begun < 12


def test_rights_are_checked_before_anything_is_said(panel: Panel, goal: Goal) -> None:
    address = f"/goals/{goal.pk}/stream/"
    assert panel.get(f"/goals/{uuid4()}/stream/").status_code == 404
    mine, panel.cookies = panel.cookies, session_of(outsider("mallory"))
    assert panel.get(address).status_code == 404
    panel.cookies = {}
    assert panel.get(address, Accept="text/event-stream").status_code == 401
    assert panel.get(address, **{"HX-Request": "true", "Accept": "text/html, text/event-stream"}).status_code == 401
    fragment = panel.get(f"/goals/{goal.pk}/", **{"HX-Request": "true", "Accept": "text/html, text/event-stream"})
    assert "/login/" in fragment.headers["HX-Redirect"], "a fragment sends its page to the login"
    panel.cookies = mine
    assert httpx.post(f"{panel.web.url}{address}", cookies=mine, trust_env=False).status_code in {403, 405}


# ---- in this process


def in_a_loop(goal: Goal, user: User) -> Any:
    async def ask() -> Any:
        client = AsyncClient()
        await client.aforce_login(user)
        return await client.get(f"/goals/{goal.pk}/stream/")

    return asyncio.run(ask())


def test_where_there_is_no_room_a_client_is_told_when_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    user = member("ana")
    goal = services.submit_goal("Say hello", by=user)
    monkeypatch.setattr(streaming, "MOST", 0)
    answer = in_a_loop(goal, user)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0


def test_a_stream_ends_after_a_while_and_is_counted_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    user = member("ana")
    goal = services.submit_goal("Say hello", by=user)
    monkeypatch.setattr(streaming, "LASTS", 0.5)
    monkeypatch.setattr(streaming, "LISTENS", 0.1)
    counts = []

    async def follow() -> list[str]:
        said = []
        async for message in streaming.follow(user, goal.pk, 0):
            said.append(message)
            counts.append(streaming.open_streams)
        return said

    said = asyncio.run(follow())
    assert said[0].startswith("retry:")
    assert "event: beat" in said[-1]
    assert set(counts) == {1}
    assert streaming.open_streams == 0


def test_a_stream_ends_when_its_reader_has_left_the_team(monkeypatch: pytest.MonkeyPatch) -> None:
    user = member("ana")
    goal = services.submit_goal("Say hello", by=user)
    monkeypatch.setattr(streaming, "LISTENS", 0.1)

    def leave() -> None:
        Membership.objects.filter(user=user).delete()
        connection.close()

    async def follow() -> list[str]:
        said = []
        async for message in streaming.follow(user, goal.pk, 0):
            said.append(message.partition("\n")[0])
            if said.count("event: beat") == 1:
                await sync_to_async(leave)()
        return said

    said = asyncio.run(asyncio.wait_for(follow(), 30))
    assert said[-1] == "event: ended"

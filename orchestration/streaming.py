"""The live stream of one goal, for pages and programs. Rows are the replay; Redis is only the bell, and may be away.

`changed` (id: the newest event's number) · `beat`, while nothing happens · `ended`, after the last event.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

import redis
import redis.asyncio
from asgiref.sync import sync_to_async
from django.conf import settings

from .journal import release_connection
from .live import bell_key
from .models import Budget, Event
from .selectors.access import goals_for
from .states import TERMINAL_GOAL

log = logging.getLogger(__name__)
LISTENS = 2.0  # seconds between two looks at the rows, whether or not the bell rings
LASTS = 600.0  # seconds; then the client comes back, and its rights are checked again
MOST = 200  # streams of one process: each holds a thread and a connection to Redis
AT_ONCE = 500  # events of one look
AGAIN = 30  # seconds, for a client that found no room
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
open_streams = 0

P = ParamSpec("P")
T = TypeVar("T")
Tell = Callable[[Event], dict[str, Any]]


def has_room() -> bool:
    return open_streams < MOST


def place_of(last_event_id: str, after: str) -> int:
    """The event after which a stream starts: what a client that was cut off says, else what the first request asked for."""
    text = last_event_id or after
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0


async def follow(user: Any, goal_id: UUID, after: int, tell: Tell | None = None) -> AsyncIterator[str]:
    """Nothing is held while it waits. With `tell` there is one `changed` an event, and its data is what that says of it; without,
    one a look, also when only the costs changed: a page then asks for its own fragment. It ends when `user` has left the team."""
    global open_streams
    open_streams += 1
    bell = redis.asyncio.from_url(
        settings.REDIS_URL, socket_connect_timeout=0.5, socket_timeout=LISTENS + 1, retry=None
    )
    ends = time.monotonic() + LASTS
    heard, used = "0", None
    try:
        key = await _ask(_key, goal_id)
        yield "retry: 2000\n\n"
        while time.monotonic() < ends:
            told, newest, over, now_used = await _ask(_look, user, goal_id, after, tell)
            if after > newest:
                after = 0  # nobody has seen what has not happened yet: from the beginning
            for number, data in told:
                after = number
                yield _message("changed", data, number)
            if tell is None and (newest > after or used not in (None, now_used)):
                after = max(newest, after)
                yield _message("changed", {"seq": after}, after)
            used = now_used
            if after < newest:
                continue  # more than one look could tell
            if over:
                yield _message("ended", {})
                return
            heard = await _listen(bell, key, heard)
            yield _message("beat", {})
    finally:
        open_streams -= 1
        await bell.aclose()


async def _listen(bell: redis.asyncio.Redis, key: str, heard: str) -> str:
    """Until it rings, for two seconds at most; the entry that was heard last."""
    begun = time.monotonic()
    try:
        rung: Any = await bell.xread({key: heard}, block=int(LISTENS * 1000), count=100)
    except (redis.RedisError, OSError) as error:
        log.debug("no bell: %s", type(error).__name__)
        await asyncio.sleep(max(0.0, LISTENS - (time.monotonic() - begun)))
        return heard
    entry = rung[0][1][-1][0] if rung else heard
    return entry.decode() if isinstance(entry, bytes) else str(entry)


async def _ask(question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """In a thread. `sync_to_async` swallows a cancellation that comes while the thread runs, and Django cancels once, when the client
    has gone: without the look at `cancelling` the stream would go on for nobody until its ten minutes are over."""
    answer = await sync_to_async(question)(*args, **kwargs)
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
    return answer


def _key(goal_id: UUID) -> str:
    try:
        return bell_key(str(goal_id))
    finally:
        release_connection()


def _look(
    user: Any, goal_id: UUID, after: int, tell: Tell | None
) -> tuple[list[tuple[int, dict[str, Any]]], int, bool, tuple[int, ...]]:
    """([(number, data)], the newest event, is it over, what was used). The connection goes back: this thread lives with the stream."""
    try:
        row = goals_for(user).filter(pk=goal_id).values_list("event_seq", "status").first()
        if row is None:
            return [], 0, True, ()
        used = Budget.objects.filter(pk=goal_id).values_list("calls", "commands", "spent_tokens").first() or ()
        events = Event.objects.filter(goal_id=goal_id, seq__gt=after).order_by("seq")[:AT_ONCE] if tell else []
        told = [(event.seq, tell(event)) for event in events] if tell else []
        return told, row[0], row[1] in TERMINAL_GOAL, used
    finally:
        release_connection()


def _message(name: str, data: dict[str, Any], number: int | None = None) -> str:
    """A number makes it the place from which a client that was cut off goes on."""
    head = f"id: {number}\n" if number is not None else ""
    return f"{head}event: {name}\ndata: {json.dumps(data)}\n\n"

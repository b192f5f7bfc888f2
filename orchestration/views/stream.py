"""The live stream of one goal: it says *that* something changed, the page asks *what*. Rows are the replay, Redis is only the bell."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import redis
import redis.asyncio
from asgiref.sync import sync_to_async
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

from ..journal import release_connection
from ..live import bell_key
from ..models import Budget, Goal
from ..selectors.access import goals_for
from ..states import TERMINAL_GOAL

log = logging.getLogger(__name__)
LISTENS = 2.0  # seconds between two looks at the rows, whether or not the bell rings
LASTS = 600.0  # seconds; then the client comes back, and its rights are checked again
MOST = 200  # streams of one process: each holds a thread and a connection to Redis
AGAIN = "30"  # seconds, for a client that found no room
Used = tuple[int, ...]  # calls and commands are no events; that their number grew is news all the same
open_streams = 0


async def stream(request: HttpRequest, goal_id: UUID) -> HttpResponseBase:
    """`changed` (id: the newest event), `beat`, `ended`. Starts after `Last-Event-ID`, else after `?after=`."""
    if request.method != "GET":
        return HttpResponse(status=405, headers={"Allow": "GET"})
    if not await sync_to_async(_may_see)(await request.auser(), goal_id):
        raise Http404
    if open_streams >= MOST:
        return HttpResponse("too many streams are open", status=503, headers={"Retry-After": AGAIN})
    last = _number(request.headers.get("Last-Event-ID") or request.GET.get("after", ""))
    return StreamingHttpResponse(
        follow(goal_id, last),
        content_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


stream.answers_401 = True  # type: ignore[attr-defined]  # a stream follows no redirect to a login form


async def follow(goal_id: UUID, last: int) -> AsyncIterator[str]:
    """Rows are read at each ring and every two seconds without one; nothing is held while it waits."""
    global open_streams
    open_streams += 1
    bell = redis.asyncio.from_url(
        settings.REDIS_URL, socket_connect_timeout=0.5, socket_timeout=LISTENS + 1, retry=None
    )
    ends = time.monotonic() + LASTS
    heard: str = "0"
    seen: Used | None = None
    try:
        key = await sync_to_async(_key)(goal_id)
        yield "retry: 2000\n\n"
        while time.monotonic() < ends:
            seq, over, used = await sync_to_async(_look)(goal_id)
            news = seq != last or (seen is not None and used != seen)
            last, seen = seq, used
            if news:
                yield _message("changed", {"seq": last}, last)
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


def _may_see(user: object, goal_id: UUID) -> bool:
    try:
        return goals_for(user).filter(pk=goal_id).exists()
    finally:
        release_connection()


def _key(goal_id: UUID) -> str:
    try:
        return bell_key(str(goal_id))
    finally:
        release_connection()


def _look(goal_id: UUID) -> tuple[int, bool, Used]:
    """(newest event, is it over, what was used so far). The connection goes back: this thread lives as long as the stream."""
    try:
        row = Goal.objects.filter(pk=goal_id).values_list("event_seq", "status").first()
        if row is None:
            return 0, True, ()
        used = Budget.objects.filter(pk=goal_id).values_list("calls", "commands", "spent_tokens").first()
        return row[0], row[1] in TERMINAL_GOAL, used or ()
    finally:
        release_connection()


def _message(name: str, data: dict[str, int], number: int | None = None) -> str:
    """A number makes it the place from which a client that was cut off goes on."""
    head = f"id: {number}\n" if number is not None else ""
    return f"{head}event: {name}\ndata: {json.dumps(data)}\n\n"


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else 0

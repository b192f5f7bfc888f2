"""The bell: open pages hear that a goal has new events. Rows are the truth; a bell that is lost costs a page two seconds."""

from __future__ import annotations

import logging
import time

import redis
from django.conf import settings

from .broker import key_prefix

log = logging.getLogger(__name__)
KEPT = 8  # entries of a bell's stream: it only says "look"
FORGOTTEN = 3600  # seconds after the last ring
LEAVE_ALONE = 2.0  # seconds that Redis is not asked after it failed

_client: redis.Redis | None = None


def bell_key(goal_id: str) -> str:
    """The Redis stream of one goal; it carries the installation's id like every key of ours."""
    return f"{key_prefix()}bell:{goal_id}"


def ring(goal_id: str) -> None:
    """One entry in the goal's stream. Called in a thread that may wait (see `dispatch.Later`)."""
    global _client
    if _client is None:
        _client = redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=0.5, socket_timeout=1.0, retry=None)
    try:
        key = bell_key(goal_id)
        with _client.pipeline(transaction=False) as together:
            together.xadd(key, {"look": "1"}, maxlen=KEPT, approximate=False)
            together.expire(key, FORGOTTEN)
            together.execute()
    except (redis.RedisError, OSError) as error:
        log.debug("no bell for goal %s: %s", goal_id[:8], type(error).__name__)
        time.sleep(LEAVE_ALONE)

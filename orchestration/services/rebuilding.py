"""rebuild: what Redis holds of our queues is forgotten, and every due run is published anew from the database, the truth."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models.functions import Now

from .. import broker, dispatch
from ..errors import BrokerAway
from ..models import Run
from ..queue_keys import IN_FLIGHT, PRIORITIES, remove_misfits
from ..states import Queue
from .sweeping import wakeable

TOGETHER = 100  # messages or runs at once


@dataclass
class Rebuilt:
    """One queue: messages `forgotten`, those `kept` since no row says what they say, and runs `published` anew."""

    queue: str
    forgotten: int = 0
    kept: int = 0
    published: int = 0


def rebuild_queue(*, dry_run: bool = False) -> list[Rebuilt]:
    """Safe while workers run: a message is only a wake-up, and a run is claimed once. `dry_run` only counts.

    Raises BrokerAway or BrokerRefused, with nothing changed that matters: the housekeepers go on from the database.
    """
    counts = {queue: Rebuilt(queue) for queue in Queue.values}
    with broker.own_redis(settings.CELERY_BROKER_URL) as client:
        if not dry_run:
            remove_misfits(client, broker.key_prefix())
        for count in counts.values():
            for suffix in PRIORITIES:
                _forget(client, f"{broker.key_prefix()}{count.queue}{suffix}", count, dry_run)
        if not dry_run:
            client.delete(*(f"{broker.key_prefix()}{name}" for name in IN_FLIGHT))
    due = list(wakeable().values_list("pk", "kind", "queue"))
    for n in range(0, len(due), TOGETHER):
        some = due[n : n + TOGETHER]
        if not dry_run:
            _publish([(str(pk), kind) for pk, kind, _ in some])
        for _, _, queue in some:
            counts[queue].published += 1
    return list(counts.values())


def _forget(client: Any, key: str, count: Rebuilt, dry_run: bool) -> None:
    for message in list(_messages(client, key)):
        if _is_by_hand(message):
            count.kept += 1
        else:
            # by its value: a worker may have taken it meanwhile, and others may have come
            count.forgotten += 1 if dry_run else int(client.lrem(key, 1, message))


def _messages(client: Any, key: str) -> Iterator[bytes]:
    """What a list holds; a key that holds something else holds none."""
    if client.type(key) != b"list":
        return
    for start in range(0, client.llen(key), TOGETHER):
        yield from client.lrange(key, start, start + TOGETHER - 1)


def _is_by_hand(message: bytes) -> bool:
    """A task that somebody called with arguments of their own (or a tick): the database knows nothing of it, so it stays."""
    try:
        said = json.loads(message)
        _, kwargs, _ = json.loads(base64.b64decode(said["body"]))
        return said["headers"]["task"] in dispatch.BY_HAND and not kwargs.get("run_id")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def _publish(wanted: list[tuple[str, str]]) -> None:
    Run.objects.filter(pk__in=[pk for pk, _ in wanted]).update(enqueued_at=Now())
    if dispatch.publish(wanted) < len(wanted):
        raise BrokerAway("Redis stopped answering in between; the housekeepers publish what is missing")

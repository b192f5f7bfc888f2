"""Kombu's Redis transport for a Redis that anybody may have written to: what is no message of ours is thrown away, and logged.

Without it a few bytes in a queue's list end the worker: kombu decodes what it takes from Redis in the event loop. Celery itself deals
with what a message of the right form names (an unknown task, arguments that do not fit).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from queue import Empty
from typing import Any

from django.conf import settings
from kombu.transport import redis
from redis import Redis
from redis.exceptions import RedisError

from orchestration.queue_keys import remove_misfits

from .messages import trouble_with

OURS = frozenset(queue.name for queue in settings.CELERY_TASK_QUEUES)
log = logging.getLogger(__name__)
# Redis itself is away, refuses, or has nothing for us: kombu and Celery connect anew, or go on.
NEWS = (RedisError, OSError, Empty, MemoryError)


class QoS(redis.QoS):
    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        """What a worker took and never acknowledged goes back into its queue, if it can be read."""
        try:
            super().restore_by_tag(tag, client, leftmost)
        except NEWS:
            raise
        except Exception as error:  # noqa: BLE001 - whatever bytes make of a decoder
            log.warning("an entry of the unacknowledged cannot be read (%s) and is dropped", type(error).__name__)
            self._remove_from_indices(tag).execute()  # type: ignore[attr-defined]  # kombu's, whose types end here


class Channel(redis.Channel):
    QoS = QoS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """A worker that Redis refused because of a key that is no queue comes by here when it connects anew."""
        super().__init__(*args, **kwargs)
        plain = Redis(connection_pool=self.client.connection_pool)  # kombu's own client prefixes some commands only
        if wrong := remove_misfits(plain, self.global_keyprefix):
            log.warning("keys of our queues that hold something else are removed: %s", ", ".join(wrong))

    def _brpop_read(self, **options: Any) -> Any:
        return self._guarded(super()._brpop_read, **options)  # type: ignore[misc]

    def _receive_one(self, c: Any) -> Any:
        return self._guarded(super()._receive_one, c)  # type: ignore[misc]

    def _guarded(self, read: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """One message, or nothing; one that was delivered and broke its receiver does not count as being worked on."""
        before = set(self.qos._delivered or ())
        try:
            return read(*args, **options)
        except NEWS:
            raise
        except Exception as error:  # noqa: BLE001 - whatever bytes make of a decoder
            why = str(error) if isinstance(error, NoMessage) else type(error).__name__
            log.warning("a message that nobody of ours wrote is dropped (%s)", why)
            for tag in set(self.qos._delivered or ()) - before:
                self.basic_reject(tag, requeue=False)
            return None


class NoMessage(Exception):
    """It has not the form of a task's message."""


class Transport(redis.Transport):
    Channel = Channel

    def _deliver(self, message: Any, queue: str | None) -> Any:
        """To its receiver. (The others, Celery's own questions and events, come without a queue of ours.)"""
        if queue in OURS and (trouble := trouble_with(message)):
            raise NoMessage(trouble)
        return super()._deliver(message, queue)

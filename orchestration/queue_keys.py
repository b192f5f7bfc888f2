"""The keys that Celery's transport keeps in Redis for us, each with its type. What holds something else is nobody's, and goes."""

from __future__ import annotations

from typing import Any

from .states import Queue

PRIORITIES = ("", "\x06\x163", "\x06\x166", "\x06\x169")  # kombu keeps a list for each step of priority
EXCHANGES = (*Queue.values, "celery.pidbox", "reply.celery.pidbox", "celeryev")
IN_FLIGHT = ("unacked", "unacked_index")  # what was taken and not yet acknowledged; a worker misses nothing without it

TYPES = {
    **{f"{queue}{priority}": b"list" for queue in Queue.values for priority in PRIORITIES},
    **{f"_kombu.binding.{exchange}": b"set" for exchange in EXCHANGES},
    **{f"_kombu.binding_permanent.{exchange}": b"set" for exchange in EXCHANGES},
    "_kombu.binding_deadlines": b"zset",
    "unacked": b"hash",
    "unacked_index": b"zset",
    "unacked_mutex": b"string",
}


def misfits(client: Any, prefix: str) -> list[str]:
    """The names (without `prefix`) of our keys that hold another type, which Redis refuses to every worker. One round trip."""
    with client.pipeline(transaction=False) as pipe:
        for name in TYPES:
            pipe.type(f"{prefix}{name}")
        found = pipe.execute()
    return [name for (name, wanted), kind in zip(TYPES.items(), found, strict=True) if kind not in (wanted, b"none")]


def remove_misfits(client: Any, prefix: str) -> list[str]:
    """`misfits`, which are gone afterwards: nothing in them is a message, and the next one finds its list."""
    wrong = misfits(client, prefix)
    if wrong:
        client.delete(*(f"{prefix}{name}" for name in wrong))
    return wrong

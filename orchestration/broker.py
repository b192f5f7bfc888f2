"""Which Redis is ours: its keys carry the installation's id, and it carries a marker that other installations respect."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn
from uuid import UUID

import redis
from django.conf import settings
from django.db import DatabaseError, IntegrityError, transaction

from .errors import BrokerAway, BrokerRefused
from .models import Installation

log = logging.getLogger(__name__)
MARKER = "compymac:installation"
_known: UUID | None = None


def installation_id() -> UUID:
    """This installation's id; its row is made at the first use. Raises DatabaseError where nothing is migrated yet."""
    global _known
    if _known is None:
        row = Installation.objects.first()
        if row is None:
            try:
                with transaction.atomic():
                    row = Installation.objects.create()
            except IntegrityError:
                row = Installation.objects.get()
        _known = row.pk
    return _known


def key_prefix() -> str:
    """What every key of our queues begins with."""
    return f"compymac:{installation_id()}:"


def check_redis(url: str) -> None:
    """Raises BrokerRefused for a Redis that must not be used, BrokerAway when nobody answers (workers may start before it)."""
    with own_redis(url):
        pass


@contextmanager
def own_redis(url: str) -> Iterator[Any]:
    """A client of a Redis that is ours to use, with `check_redis`'s errors for whatever goes wrong within."""
    client = redis.Redis.from_url(url, socket_connect_timeout=2, socket_timeout=5, retry=None)
    try:
        with client:
            _check_policy(client)
            _check_owner(client)
            yield client
    except redis.AuthenticationError as error:
        raise BrokerRefused(
            "Redis refuses the password: set it in REDIS_URL as redis://:PASSWORD@host:6379/0"
        ) from error
    except redis.ReadOnlyError as error:
        raise BrokerRefused("this Redis is a read-only replica: set REDIS_URL to the primary") from error
    except redis.ResponseError as error:
        raise BrokerRefused(f"Redis refuses: {error}") from error
    except (redis.RedisError, OSError) as error:
        raise BrokerAway(
            f"nobody answers at {where(url)} ({type(error).__name__}); is Redis running? REDIS_URL"
        ) from error


def _check_policy(client: Any) -> None:
    try:
        found = client.config_get("maxmemory-policy")
        policy = found.get("maxmemory-policy") or found.get(b"maxmemory-policy", b"noeviction").decode()
    except redis.ResponseError:
        return  # CONFIG is forbidden on some hosted servers; their owner has to know
    if policy != "noeviction":
        raise BrokerRefused(
            f"Redis evicts keys (maxmemory-policy {policy}), and with them the queues. "
            "Set it: redis-cli config set maxmemory-policy noeviction"
        )


def _check_owner(client: Any) -> None:
    ours = str(installation_id())
    client.set(MARKER, ours, nx=True)
    theirs = (client.get(MARKER) or b"").decode(errors="replace")
    if theirs != ours:
        theirs = "".join(char for char in theirs[:80] if char.isprintable())  # anybody may have written it
        raise BrokerRefused(
            f"this Redis belongs to installation {theirs}, and the database here is of installation {ours}. "
            "Set DATABASE_URL to the database of those messages, or CELERY_BROKER_URL / REDIS_URL to a Redis of your own "
            f"(if the other installation is gone: redis-cli del {MARKER})"
        )


def require_own_broker() -> None:
    """At the start of a worker: exits 2 with the sentence when Redis and database do not belong together."""
    try:
        for url in dict.fromkeys((settings.CELERY_BROKER_URL, settings.REDIS_URL)):
            check_redis(url)
    except BrokerAway as error:
        log.warning("%s; queued goals are worked from the database meanwhile", error)
    except BrokerRefused as error:
        stop_with(str(error))
    except DatabaseError as error:
        stop_with(
            f"the database cannot be used ({str(error).splitlines()[0]}): run `manage.py migrate`, or set DATABASE_URL"
        )


def stop_with(sentence: str) -> NoReturn:
    """A process that cannot be started: exit code 2, the sentence on stderr."""
    sys.stderr.write(f"error: {sentence}\n")
    sys.stderr.flush()
    raise SystemExit(2)


def where(url: str) -> str:
    """host:port of an address, without its password."""
    address = url.split("://", 1)[-1].rsplit("@", 1)[-1]
    return address.split("/", 1)[0] or "localhost"

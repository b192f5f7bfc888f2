"""DistributedArtifactStore: values by id, in the database first (the truth), then in Redis with a TTL (the quick way).

In Redis, key `artifact:<id>` holds one JSON document that redis-cli shows: {"sha256": …, "value": …}, or above 4 KiB
{"sha256": …, "zlib": base64}. The row says whether there is a value, and which: what Redis holds is used if it is that one (it may be
older, where Redis was away for a while); otherwise, and on a miss, the database is read. There is no pickle anywhere (see `values`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import logging
import time
import zlib
from datetime import timedelta
from functools import cached_property
from typing import Any

import redis
from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from . import values
from .blobs import COMPRESS_ABOVE, pack, unpack_row
from .errors import ArtifactExists, ArtifactTooLarge, NotFound
from .models import Artifact, Goal

log = logging.getLogger(__name__)
WRITE_ONCE = ("plan-", "result-")
LEAVE_ALONE = 5.0  # seconds that Redis is not asked after it failed, so that not every call waits for it

_away_until: dict[str, float] = {}  # by address


class DistributedArtifactStore:
    """Any JSON value, bytes, datetime, Path, set, tuple …; dataclasses and pydantic models come back as dicts.

        store = DistributedArtifactStore()
        store.store("report", {"passed": 12}, ttl=timedelta(hours=1))
        store.get("report")                      # {"passed": 12}; None after an hour

    Ids that begin with `plan-` or `result-` are written once: another value raises ArtifactExists.
    """

    def __init__(self, redis_url: str | None = None) -> None:
        self.url = redis_url or settings.REDIS_URL

    @cached_property
    def redis(self) -> redis.Redis:
        """The client; short timeouts, since everything it holds is in the database too."""
        return redis.Redis.from_url(
            self.url, socket_connect_timeout=0.5, socket_timeout=1.0, retry=None, health_check_interval=25
        )

    def store(self, artifact_id: str, data: Any, ttl: timedelta | None = None) -> None:
        """Keep a value. Without `ttl` it stays in the database and 24 h in Redis; with it, that is its lifetime in both.

        Raises TypeError (naming the type), ArtifactTooLarge, ArtifactExists, ValueError for a bad id or ttl.
        """
        text = _checked(artifact_id, data)
        if ttl is not None and ttl.total_seconds() <= 0:
            raise ValueError(f"ttl must be longer than nothing, not {ttl}")
        with transaction.atomic():
            _write(artifact_id, text, expires_at=timezone.now() + ttl if ttl else None)
        seconds = ttl.total_seconds() if ttl else settings.ARTIFACT_TTL_SECONDS
        if (
            self._ask(lambda: self.redis.set(_key(artifact_id), _document(text), px=max(1, int(seconds * 1000))))
            is None
        ):
            log.warning("artifact %s is in the database only: Redis does not answer", artifact_id)

    def get(self, artifact_id: str) -> Any:
        """The value, or None when there is none (any more)."""
        _check_id(artifact_id)
        row = _rows(artifact_id).defer("data").first()
        if row is None:
            return None
        try:
            text = _read_document(self._ask(lambda: self.redis.get(_key(artifact_id))), row.sha256)
            return values.loads(unpack_row(row).decode() if text is None else text)
        except (NotFound, ValueError) as error:
            log.error("artifact %s cannot be read: %s", artifact_id, error)
            return None

    def delete(self, artifact_id: str) -> None:
        """Remove it from both; deleting what is not there is fine."""
        _check_id(artifact_id)
        Artifact.objects.filter(pk=artifact_id).delete()
        self._ask(lambda: self.redis.delete(_key(artifact_id)))

    def exists(self, artifact_id: str) -> bool:
        _check_id(artifact_id)
        return bool(_rows(artifact_id).exists())

    def _ask(self, question: Any) -> Any:
        """Redis' answer, or None when it is away, full or refuses; then it is left alone for a moment."""
        if time.monotonic() < _away_until.get(self.url, 0.0):
            return None
        try:
            return question()
        except (redis.RedisError, OSError) as error:
            log.warning("Redis: %s", type(error).__name__)
            _away_until[self.url] = time.monotonic() + LEAVE_ALONE
            return None


def value_row(artifact_id: str, data: Any, *, goal: Goal) -> Artifact:
    """The database's half of `store` as a row to be added where there is none: the first value of a write-once id stands."""
    return Artifact(pk=artifact_id, **_columns(_checked(artifact_id, data), expires_at=None, goal=goal))


def _write(artifact_id: str, text: str, *, expires_at: Any, goal: Goal | None = None) -> None:
    columns = _columns(text, expires_at=expires_at, goal=goal)
    if not artifact_id.startswith(WRITE_ONCE):
        Artifact.objects.update_or_create(pk=artifact_id, defaults=columns)
        return
    Artifact.objects.filter(pk=artifact_id, expires_at__lte=timezone.now()).delete()
    row, _ = Artifact.objects.get_or_create(pk=artifact_id, defaults=columns)  # of two at once, one inserts
    if row.sha256 != columns["sha256"]:
        raise ArtifactExists(f"artifact {artifact_id} is written once and holds another value; choose another id")


def _columns(text: str, *, expires_at: Any, goal: Goal | None) -> dict[str, Any]:
    data = text.encode()
    encoding, stored = pack(data)
    kept = {"kind": "value", "media_type": "application/json", "encoding": encoding, "size": len(data), "data": stored}
    return {**kept, "sha256": hashlib.sha256(data).hexdigest(), "expires_at": expires_at, "goal": goal}


def _rows(artifact_id: str) -> Any:
    return Artifact.objects.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now()), pk=artifact_id)


def _checked(artifact_id: str, data: Any) -> str:
    _check_id(artifact_id)
    text = values.dumps(data)
    size = len(text.encode())
    if size > settings.ARTIFACT_MAX_BYTES:
        raise ArtifactTooLarge(
            f"artifact {artifact_id} has {size} bytes, the limit is {settings.ARTIFACT_MAX_BYTES} (ARTIFACT_MAX_BYTES)"
        )
    return text


def _check_id(artifact_id: str) -> None:
    if not isinstance(artifact_id, str) or not 1 <= len(artifact_id) <= 200 or not artifact_id.isprintable():
        raise ValueError(f"an artifact's id is 1 to 200 printable characters, not {str(artifact_id)[:80]!r}")


def _key(artifact_id: str) -> str:
    return f"artifact:{artifact_id}"


def _document(text: str) -> str:
    digest = hashlib.sha256(text.encode()).hexdigest()
    if len(text) > COMPRESS_ABOVE:
        return json.dumps({"sha256": digest, "zlib": base64.b64encode(zlib.compress(text.encode(), 6)).decode()})
    return f'{{"sha256": "{digest}", "value": {text}}}'


def _read_document(found: Any, expected: str) -> str | None:
    """The text that a document of ours holds, if it is the one with that sha256; None for anything else: a miss."""
    if not isinstance(found, bytes):
        return None
    head = f'{{"sha256": "{"0" * 64}", "value": '
    try:
        small = b'"zlib"' in found[:90]
        data = _inflate(base64.b64decode(json.loads(found)["zlib"], validate=True)) if small else found[len(head) : -1]
        if hashlib.sha256(data).hexdigest() == expected:
            return data.decode()
    except (ValueError, KeyError, TypeError, RecursionError, zlib.error, binascii.Error):
        pass
    log.warning("what Redis holds for an artifact is old, damaged or foreign; the database is read instead")
    return None


def _inflate(data: bytes) -> bytes:
    """Never more than an artifact may hold, whatever the compressed bytes claim."""
    inflater = zlib.decompressobj()
    plain = inflater.decompress(data, settings.ARTIFACT_MAX_BYTES + 1)
    if len(plain) > settings.ARTIFACT_MAX_BYTES:
        raise ValueError("more than ARTIFACT_MAX_BYTES")
    return plain

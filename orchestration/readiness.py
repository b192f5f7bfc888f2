"""What a probe is told: does the database answer, and what of the rest is missing. Quick, whatever is away."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from redis.backoff import NoBackoff
from redis.retry import Retry

from .selectors.operations import beat_age, worker_age

LEAST_DISK = 2 * 1024**3
WORKER_MAY_BE_SILENT = 60.0
BEAT_MAY_BE_SILENT = 180.0
WAIT = 1.0  # seconds for Redis; two for the database

Answer = dict[str, Any]


def readiness() -> Answer:
    """`status`: ok, degraded (it works, something is missing) or down (no database, so nothing works)."""
    if problem := _database():
        return {"status": "down", "database": {"status": "down", "problem": problem}}
    try:
        parts = {
            "database": {"status": "ok", "kind": connection.vendor},
            "redis": {"status": "ok" if redis_answers() else "down"},
            "worker": _heard(worker_age(), WORKER_MAY_BE_SILENT),
            "beat": _heard(beat_age(), BEAT_MAY_BE_SILENT),
            "disk": _disk(),
        }
    except DatabaseError as error:  # it answers, and has no tables
        return {"status": "down", "database": {"status": "down", "problem": type(error).__name__}}
    degraded = any(part["status"] != "ok" for part in parts.values())
    return {"status": "degraded" if degraded else "ok", **parts}


def beat_is_heard() -> bool:
    """Has celery-beat ticked, or begun, lately?"""
    return bool(_heard(beat_age(), BEAT_MAY_BE_SILENT)["status"] == "ok")


def redis_answers() -> bool:
    """Does the broker answer within a second?"""
    with suppress(redis.RedisError, OSError):
        options = {"socket_connect_timeout": WAIT, "socket_timeout": WAIT, "retry": Retry(NoBackoff(), 0)}
        with redis.Redis.from_url(settings.CELERY_BROKER_URL, **options) as client:
            return bool(client.ping())
    return False


def _database() -> str:
    """By a connection of its own: a full pool is not a database that is away, and an absent server must not take 15 seconds."""
    own = connection.copy()
    if own.vendor == "postgresql":
        own.settings_dict["OPTIONS"].pop("pool", None)
        own.settings_dict["OPTIONS"]["connect_timeout"] = 2
    try:
        with own.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        return type(error).__name__
    finally:
        own.close()
    return ""


def _heard(age: float | None, may_be_silent: float) -> Answer:
    if age is None:
        return {"status": "missing", "seconds_ago": None}
    return {"status": "ok" if age <= may_be_silent else "missing", "seconds_ago": round(age, 1)}


def _disk() -> Answer:
    folder = Path(settings.DATA_DIR)
    free = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free
    return {"status": "ok" if free >= LEAST_DISK else "low", "free_bytes": free}

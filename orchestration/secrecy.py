"""What this installation itself must not tell: taken out of whatever is sent to a model or kept of a command's output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings

from agents.ports import CommandResult
from agents.redaction import redacted, remembered

WORTH_KEEPING = 32_768  # characters of a message, which is sent again with each turn; an output is looked at once
SECRET_NAMES = ("KEY", "TOKEN", "PASSWORD")


@cache
def own_secrets() -> tuple[str, ...]:
    """Keys and passwords of the settings, as they would stand in a text; the longest first, so that none is left in part."""
    told: Mapping[str, Any] = {
        "SECRET_KEY": settings.SECRET_KEY,
        "METRICS_TOKEN": settings.METRICS_TOKEN,
        **settings.LLM_ENVIRONMENT,
        **settings.SANDBOX_ENVIRONMENT,
    }
    named = {str(value) for name, value in told.items() if name.endswith(SECRET_NAMES) and value}
    urls = (settings.REDIS_URL, settings.CELERY_BROKER_URL)
    passwords = {urlsplit(url).password or "" for url in urls} | {
        str(settings.DATABASES["default"].get("PASSWORD") or "")
    }
    both = named | passwords | {unquote(word) for word in passwords}
    return tuple(sorted(filter(None, both), key=len, reverse=True))


def redact(text: str) -> str:
    """Raises nothing; the same text for the same text, so that a journal replays."""
    return remembered(text, own_secrets()) if len(text) <= WORTH_KEEPING else redacted(text, own_secrets())


def told_by(result: CommandResult) -> CommandResult:
    """What a command has said, without secrets."""
    whole = redact(result.whole.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    return replace(result, stdout=redact(result.stdout), stderr=redact(result.stderr), whole=whole)

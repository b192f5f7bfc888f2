"""A request that is sent again because its answer was lost acts once: Idempotency-Key, remembered for a day.

The key is inserted and committed first (unique: one of two at the same time wins), then what the request does and its answer are
committed together. So a process that dies in between has done nothing, and its key may be taken over after a minute: the late
one, should it still live, finds the key no longer its own, and its transaction is rolled back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from ..errors import KeyReused, RequestInFlight
from ..models import IdempotencyKey
from ..transitions import repeatable

REMEMBERED = timedelta(hours=24)
IN_FLIGHT = timedelta(minutes=1)
PREFIX = "api:"  # the forms of the panel keep keys of their own in the same table
IN_FLIGHT_SAYS = "the first request with this Idempotency-Key is still being answered; ask again in a moment"
REUSED_SAYS = "this Idempotency-Key came with another request within the last 24 hours: use a new key for a new wish"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request was answered; `replayed`: by an earlier one."""

    status: int
    location: str
    body: Any
    replayed: bool = False


def answer_once(*, user: Any, key: str, request_sha256: str, act: Callable[[], Answer]) -> Answer:
    """`act`'s answer, or the one that the same request got before. An `act` that raises leaves the key free.

    Raises RequestInFlight while the first one is being worked on, KeyReused for another request under the same key.
    """
    mine = _claim(user, PREFIX + key, request_sha256)
    if isinstance(mine, Answer):
        return mine
    try:
        return _act(mine, act)
    except BaseException:
        _rows(mine).delete()
        raise


@repeatable
def _claim(user: Any, key: str, request_sha256: str) -> IdempotencyKey | Answer:
    now = timezone.now()
    IdempotencyKey.objects.filter(created_at__lt=now - REMEMBERED).delete()
    try:
        with transaction.atomic():
            return IdempotencyKey.objects.create(user=user, key=key, request_sha256=request_sha256)
    except IntegrityError:
        pass
    known = IdempotencyKey.objects.filter(user=user, key=key).first()
    if known is None:  # it failed just now, and is free again
        raise RequestInFlight(IN_FLIGHT_SAYS)
    if known.request_sha256 != request_sha256:
        raise KeyReused(REUSED_SAYS)
    if known.status is not None:
        return Answer(known.status, known.location, known.answer, replayed=True)
    if known.created_at < now - IN_FLIGHT and _rows(known).update(created_at=now):
        known.created_at = now
        return known
    raise RequestInFlight(IN_FLIGHT_SAYS)


@repeatable
def _act(mine: IdempotencyKey, act: Callable[[], Answer]) -> Answer:
    with transaction.atomic():
        answer = act()
        kept = {"status": answer.status, "location": answer.location, "answer": answer.body}
        if not _rows(mine).update(**kept):
            raise RequestInFlight(IN_FLIGHT_SAYS)
        return answer


def _rows(mine: IdempotencyKey) -> Any:
    """The row, as long as it is still ours and unanswered."""
    return IdempotencyKey.objects.filter(pk=mine.pk, created_at=mine.created_at, status=None)

"""API tokens: made once, shown once, known afterwards by their hash alone."""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from ..errors import BadInput, NotFound
from ..models import ApiToken
from ..transitions import repeatable
from .cleaning import clean_line

PREFIX = "cmk_"  # so that a scanner for leaked secrets, and a person, know what it is
SECRET = re.compile(r"cmk_[A-Za-z0-9_-]{43}")
SHOWN = len(PREFIX) + 6
LONGEST = timedelta(days=3650)
USE_NOTED_EVERY = timedelta(minutes=1)  # a busy program must not write a row with each request
MOST_TOKENS = 100


@repeatable
def create_token(user: Any, name: str, expires_in: timedelta | None = None) -> tuple[ApiToken, str]:
    """A new token of this user and its secret, which is not kept: whoever loses it makes another."""
    name = clean_line(name, "the token's name", 80)
    if not name:
        raise BadInput("the token has no name: say which program will use it, for example `nightly report`")
    if expires_in is not None and not timedelta(0) < expires_in <= LONGEST:
        raise BadInput(f"a token lives from a moment to {LONGEST.days} days, or without an end")
    if ApiToken.objects.filter(user=user, revoked_at=None).count() >= MOST_TOKENS:
        raise BadInput(f"there are {MOST_TOKENS} tokens already: revoke those that nothing uses")
    secret = PREFIX + secrets.token_urlsafe(32)
    expires_at = timezone.now() + expires_in if expires_in is not None else None
    token = ApiToken.objects.create(
        user=user, name=name, digest=_digest(secret), shown=secret[:SHOWN], expires_at=expires_at
    )
    return token, secret


@repeatable
def revoke_token(token_id: Any, *, by: Any) -> ApiToken:
    """From this commit on it opens nothing; twice is no error. Raises NotFound for a token that is not `by`'s own."""
    mine = ApiToken.objects.filter(pk=token_id) if by.is_superuser else ApiToken.objects.filter(pk=token_id, user=by)
    mine.filter(revoked_at=None).update(revoked_at=timezone.now())
    token = mine.first()
    if token is None:
        raise NotFound("there is no such token")
    return token


def find_token(secret: str) -> ApiToken | None:
    """The usable token with this secret and its user, and a note of the use; None for whatever else was handed in."""
    if not isinstance(secret, str) or not SECRET.fullmatch(secret):
        return None
    # By the digest of 256 random bits: what the index's timing tells is of no use to anybody.
    token = ApiToken.objects.select_related("user").filter(digest=_digest(secret)).first()
    if token is None or not token.is_usable or not token.user.is_active:
        return None
    _note_use(token)
    return token


def user_of_token(secret: str) -> Any | None:
    """Whose token it is, if it may be used now."""
    token = find_token(secret)
    return token.user if token else None


def _note_use(token: ApiToken) -> None:
    now = timezone.now()
    if token.last_used_at and token.last_used_at > now - USE_NOTED_EVERY:
        return
    stale = Q(last_used_at=None) | Q(last_used_at__lte=now - USE_NOTED_EVERY)
    ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=now)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()

"""A form that is posted twice acts once: its hidden key is a row, written in the transaction of what it did."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction

from ..models import ApiToken, Goal, IdempotencyKey
from ..transitions import repeatable
from .access import create_token
from .following import follow_up
from .retrying import retry_goal
from .submitting import submit_goal

ANSWERED = 303  # a form's answer is "look there"


@repeatable
def submit_once(key: str, typed: Mapping[str, Any], text: str, *, by: Any, **wish: Any) -> Goal:
    """`submit_goal`, but the same form (`key`) with the same content (`typed`) is the same goal.

    A form that somebody goes back to and changes is another wish. Raises BadInput, and then the key is still free.
    """
    goal_id = once(key, typed, by=by, act=lambda: str(submit_goal(text, by=by, **wish).pk))
    return Goal.objects.get(pk=goal_id)


@repeatable
def retry_once(key: str, goal_id: Any, *, by: Any, from_step: int | None = None, rollout: int | None = None) -> Goal:
    """`retry_goal`, but the same form (`key`) with the same content is one retry, however often it is sent."""

    def act() -> str:
        return str(retry_goal(goal_id, by=by.get_username(), from_step=from_step, rollout=rollout).pk)

    retry_id = once(key, {"retry": goal_id, "from": from_step, "rollout": rollout}, by=by, act=act)
    return Goal.objects.get(pk=retry_id)


@repeatable
def follow_up_once(key: str, goal_id: Any, text: str, *, by: Any) -> Goal:
    """`follow_up`, but the same form (`key`) with the same content is one goal, however often it is sent."""
    child = once(key, {"follow": goal_id, "text": text}, by=by, act=lambda: str(follow_up(goal_id, text, by=by).pk))
    return Goal.objects.get(pk=child)


@repeatable
def create_token_once(key: str, name: str, days: timedelta | None, *, by: Any) -> tuple[ApiToken, str]:
    """`create_token`; the form's second time gives the same token without its secret, which only the first answer had."""
    secrets: list[str] = []

    def act() -> str:
        token, secret = create_token(by, name, days)
        secrets.append(secret)
        return str(token.pk)

    token_id = once(key, {}, by=by, act=act)
    return ApiToken.objects.get(pk=token_id), "".join(secrets)


def once(key: str, typed: Mapping[str, Any], *, by: Any, act: Callable[[], str]) -> str:
    """What `act` returned the first time that this form was posted; it runs in the key's transaction."""
    digest = hashlib.sha256(json.dumps([key, dict(typed)], sort_keys=True, default=str).encode()).hexdigest()
    row = {"user": by, "key": f"form:{digest}"}
    try:
        with transaction.atomic():
            kept = IdempotencyKey.objects.create(**row, request_sha256=digest, status=ANSWERED)
            kept.answer = {"result": act()}
            kept.save(update_fields=["answer"])
    except IntegrityError:
        known = IdempotencyKey.objects.filter(**row).first()
        if known is None:  # it was not the key's row that was refused
            raise
        kept = known
    return str((kept.answer or {})["result"])

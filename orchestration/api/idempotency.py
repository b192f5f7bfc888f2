"""Idempotency-Key: what is asked for twice under one key happens once (`services.idempotency`)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable

from rest_framework.exceptions import ParseError
from rest_framework.request import Request
from rest_framework.response import Response

from ..services.idempotency import Answer, answer_once

HEADER = "Idempotency-Key"
KEY = re.compile(r"[\x21-\x7e]{1,120}")
POLL = 2  # seconds: what was accepted is not worth a look before


def once(request: Request, act: Callable[[], Answer]) -> Response:
    """Answer by `act`, or as the first request with this key was answered."""
    key = request.headers.get(HEADER)
    if key is None:
        return _respond(act())
    if not KEY.fullmatch(key):
        raise ParseError(f"{HEADER} is 1 to 120 printable ASCII characters without a space, for example a UUID")
    asked = json.dumps([request.method, request.path, request.data], sort_keys=True)
    digest = hashlib.sha256(asked.encode()).hexdigest()
    return _respond(answer_once(user=request.user, key=key, request_sha256=digest, act=act))


def _respond(answer: Answer) -> Response:
    headers = {"Location": answer.location}
    if answer.status == 202:
        headers["Retry-After"] = str(POLL)
    if answer.replayed:
        headers["Idempotency-Replayed"] = "true"
    return Response(answer.body, status=answer.status, headers=headers)

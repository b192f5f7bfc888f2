"""Around every answer: X-Request-ID; and below /api/ what Django itself refused (a bad host, a broken view) as problem+json too."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase

from .problems import MEDIA_TYPE, problem

BELOW = "/api/"
HEADER = "X-Request-ID"
ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,128}")


class RequestId:
    """The caller's own id where it is a decent one; so a request can be followed through proxies and logs."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        given = request.headers.get(HEADER, "")
        request_id = given if ACCEPTED.fullmatch(given) else uuid.uuid4().hex
        request.request_id = request_id  # type: ignore[attr-defined]
        answer = self.get_response(request)
        if request.path_info.startswith(BELOW) and answer.status_code >= 400:
            answer = _as_problem(request, answer)
        answer.headers[HEADER] = request_id
        return answer


def _as_problem(request: HttpRequest, answer: HttpResponseBase) -> HttpResponseBase:
    if answer.headers.get("Content-Type", "").startswith(MEDIA_TYPE):
        return answer
    said = {400: "the request was refused: is the Host header one of ALLOWED_HOSTS?"}
    return problem(request, answer.status_code, said.get(answer.status_code, "the request was refused"))

"""Errors as application/problem+json (RFC 9457): the one exception handler of the API.

400 it cannot be read (JSON, a query parameter), 422 it was read and a value in it cannot be used. See docs/api.md for the others.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from django.core.exceptions import ObjectDoesNotExist, PermissionDenied
from django.core.signals import got_request_exception
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, JsonResponse
from rest_framework import exceptions

from ..errors import (
    BadInput,
    IllegalMove,
    KeyReused,
    NotAllowed,
    NotFound,
    OrchestrationError,
    RequestInFlight,
    StaleApproval,
)

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
NON_FIELD = "non_field_errors"
ASK_AGAIN = 5  # seconds after which a database that was away is worth another try
IN_FLIGHT_AGAIN = 1

# What is more exact than the status alone; the first that fits counts.
KINDS: tuple[tuple[type[Exception], int, str], ...] = (
    (KeyReused, 422, "idempotency-key-reused"),
    (RequestInFlight, 409, "request-in-flight"),
    (StaleApproval, 409, "stale-approval"),
    (IllegalMove, 409, "illegal-move"),
    (NotAllowed, 403, "forbidden"),
    (NotFound, 404, "not-found"),
    (BadInput, 422, "unusable-value"),
    (OrchestrationError, 400, "refused"),
    (ObjectDoesNotExist, 404, "not-found"),
    (Http404, 404, "not-found"),
    (PermissionDenied, 403, "forbidden"),
    (OperationalError, 503, "database-away"),
    (InterfaceError, 503, "database-away"),
)
OF_STATUS = {
    400: "unreadable",
    401: "not-authenticated",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    406: "not-acceptable",
    413: "too-large",
    415: "unsupported-media-type",
    422: "unusable-value",
    500: "internal-error",
    503: "unavailable",
}


class BadQuery(exceptions.ValidationError):
    """A query parameter that cannot be used; {name: sentences}."""


class TooLarge(exceptions.APIException):
    status_code = 413


class NoRoom(exceptions.APIException):
    status_code = 503
    default_detail = "too many streams are open on this server; ask again in half a minute"
    wait = 30


def problem(
    request: HttpRequest, status: int, detail: str, *, kind: str = "", errors: list[dict[str, str]] | None = None
) -> JsonResponse:
    """The answer itself. It is no DRF response, so that no negotiation can turn it into something else."""
    body = {
        "type": f"urn:compymac:problem:{kind or OF_STATUS.get(status, 'refused')}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": request.path,
        "request_id": getattr(request, "request_id", ""),
        "errors": errors or [],
    }
    return JsonResponse(body, status=status, content_type=MEDIA_TYPE)


def handle(error: Exception, context: dict[str, Any]) -> JsonResponse:
    """DRF's EXCEPTION_HANDLER."""
    request = context["request"]._request
    if isinstance(error, exceptions.ValidationError):
        return _invalid(request, error)
    if isinstance(error, exceptions.APIException):
        return _refused(request, error)
    for sort, status, kind in KINDS:
        if isinstance(error, sort):
            answer = problem(request, status, _sentence(error, status), kind=kind)
            if kind in ("database-away", "request-in-flight"):
                answer["Retry-After"] = str(ASK_AGAIN if kind == "database-away" else IN_FLIGHT_AGAIN)
            return answer
    # Sentry, Django's own reports and the test client hear of it as of any other broken view.
    got_request_exception.send(sender=None, request=request)
    log.error("%s %s broke", request.method, request.path, exc_info=error)
    return problem(request, 500, "something broke here; the log has the details under this request_id")


def _refused(request: HttpRequest, error: exceptions.APIException) -> JsonResponse:
    answer = problem(request, error.status_code, str(error.detail))
    if challenge := getattr(error, "auth_header", None):
        answer["WWW-Authenticate"] = challenge
    if wait := getattr(error, "wait", None):
        answer["Retry-After"] = str(int(wait))
    return answer


def _invalid(request: HttpRequest, error: exceptions.ValidationError) -> JsonResponse:
    in_query = isinstance(error, BadQuery)
    found = [
        {"parameter" if in_query else "pointer": where, "detail": said}
        for where, said in _flat(error.detail, "" if in_query else "/")
    ]
    where = "query" if in_query else "body"
    said = "; ".join(sorted({f"{e.get('parameter', e.get('pointer', ''))}: {e['detail']}" for e in found}))
    return problem(request, 400 if in_query else 422, f"the {where} cannot be used: {said}"[:1000], errors=found)


def _flat(detail: Any, where: str) -> list[tuple[str, str]]:
    """[(place, sentence)] of DRF's nested errors; the place of a body is a JSON pointer."""
    if isinstance(detail, dict):
        found = []
        for name, inner in detail.items():
            below = where if name == NON_FIELD else f"{where.rstrip('/')}/{name}" if where else str(name)
            found += _flat(inner, below)
        return found
    if isinstance(detail, list):
        nested = any(isinstance(item, dict | list) for item in detail)
        return [
            pair
            for n, item in enumerate(detail)
            for pair in _flat(item, f"{where.rstrip('/')}/{n}" if nested and where else where)
        ]
    return [(where, str(detail))]


def _sentence(error: Exception, status: int) -> str:
    if status == 503:
        return "the database does not answer now; nothing was changed, try again in a moment"
    if isinstance(error, Http404 | ObjectDoesNotExist):
        return "there is nothing here that you may see"
    return str(error) or HTTPStatus(status).phrase

"""For machines that watch this one: is the process alive, is it ready, and its numbers."""

from __future__ import annotations

from secrets import compare_digest

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from .. import metrics as numbers
from ..listening import is_loopback
from ..readiness import readiness

FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")


@login_not_required
@never_cache
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers; nothing else is asked."""
    return HttpResponse("ok\n", content_type="text/plain")


@login_not_required
@never_cache
@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """503 only without a database: all else may be away for a while, and goals are still taken."""
    found = readiness()
    return JsonResponse(found, status=503 if found["status"] == "down" else 200)


@login_not_required
@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    if not may_read(request):
        said = "for this machine only, or with the header `Authorization: Bearer METRICS_TOKEN`\n"
        return HttpResponse(said, status=403, content_type="text/plain")
    return HttpResponse(numbers.render(), content_type=CONTENT_TYPE_LATEST)


def may_read(request: HttpRequest) -> bool:
    """By token, or straight from this machine: what a proxy on it passes on comes from elsewhere."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if settings.METRICS_TOKEN and scheme.lower() == "bearer":
        return compare_digest(given.strip().encode(), settings.METRICS_TOKEN.encode())
    passed_on = any(name in request.headers for name in FORWARDED)
    return not passed_on and is_loopback(request.META.get("REMOTE_ADDR", ""))

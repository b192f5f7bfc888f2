"""Light, dark, or as the system has it: a cookie, so that the server draws the page in it and nothing flashes."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from .shell import THEMES

YEAR = 365 * 24 * 3600


@login_not_required
@require_POST
def choose_theme(request: HttpRequest) -> HttpResponse:
    back = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}, require_https=request.is_secure())
    answer = redirect(back if safe else "orchestration:overview")
    theme = request.POST.get("theme", "")
    if theme in THEMES[1:]:
        answer.set_cookie(
            "theme", theme, max_age=YEAR, samesite="Lax", httponly=True, secure=bool(settings.SESSION_COOKIE_SECURE)
        )
    else:
        answer.delete_cookie("theme", samesite="Lax")
    return answer

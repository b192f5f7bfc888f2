"""What holds for every page: nobody sees one without a login or a right, and a row that has gone meanwhile is "not found"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import resolve_url
from django.utils.http import urlencode
from django.views.defaults import page_not_found, permission_denied
from django_htmx.http import HttpResponseClientRedirect

from ..errors import NotAllowed, NotFound
from .acting import PANEL, refuse_what_is_not_allowed


class LoginRequired(LoginRequiredMiddleware):
    """A stream is answered 401, since its client follows no redirect; a fragment sends its page to the login form."""

    def process_view(
        self, request: HttpRequest, view: Any, args: tuple[Any, ...], named: dict[str, Any]
    ) -> HttpResponseBase | None:
        """No id of ours holds a NUL, and PostgreSQL refuses even to look for one."""
        if "\0" in request.path_info:
            raise Http404
        asked = super().process_view(request, view, args, named)
        match = request.resolver_match
        is_ours = match is not None and match.namespaces == [PANEL] and getattr(view, "login_required", True)
        if asked is None and is_ours:
            refuse_what_is_not_allowed(request, view, named)
        return asked

    def handle_no_permission(self, request: HttpRequest, view_func: Callable[..., HttpResponseBase]) -> Any:
        htmx = getattr(request, "htmx", None)
        # htmx's extension names the stream's type in every request, so for a fragment the header says nothing
        asked = "text/event-stream" in request.headers.get("Accept", "") and not htmx
        if asked or getattr(view_func, "answers_401", False):
            return HttpResponse("log in first", status=401, content_type="text/plain")
        if htmx:
            where = htmx.current_url_abs_path or "/"
            login = resolve_url(self.get_login_url(view_func))
            return HttpResponseClientRedirect(f"{login}?{urlencode({REDIRECT_FIELD_NAME: where})}")
        return super().handle_no_permission(request, view_func)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """A service finds out that somebody else removed the row after the view had read it, or where the new one would go."""
        if isinstance(exception, NotAllowed):
            return permission_denied(request, exception)
        return page_not_found(request, exception) if isinstance(exception, NotFound) else None

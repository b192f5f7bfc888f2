"""What every live page asks of its request: page or fragment, and numbers from the address."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers

LARGEST = 2**31 - 1


def number(request: HttpRequest, name: str) -> int | None:
    """A number of the query, None where there is none. Raises Http404 for what is no number of ours."""
    text = request.GET.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or int(text) > LARGEST:
        raise Http404
    return int(text)


def page_or_fragment(request: HttpRequest, page: str, fragment: str, context: dict[str, Any]) -> HttpResponse:
    """The whole page, or the live part of it that htmx morphs in; the same address has two bodies."""
    htmx = getattr(request, "htmx", None)
    partial = bool(htmx) and getattr(htmx, "request_type", None) == "partial"
    answer = render(request, fragment if partial else page, {**context, "address": request.get_full_path()})
    patch_vary_headers(answer, ["HX-Request-Type"])
    answer.headers["Cache-Control"] = "no-store"
    return answer

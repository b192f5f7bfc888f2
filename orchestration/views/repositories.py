"""The repositories that goals may start from, and how one is registered."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from ..roles import Action
from ..selectors.repositories import repository_rows
from .acting import needs


@needs(Action.SEE)
@require_safe
def repository_list(request: HttpRequest) -> HttpResponse:
    context = {"rows": repository_rows(request.user), "roots": settings.REPO_ROOTS}
    return render(request, "orchestration/repository_list.html", context)

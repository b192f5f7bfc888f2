"""The first page: what needs you, what runs, and what is still to be set up."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from .. import doctor
from ..checklist import Facts, first_steps
from ..roles import Action
from ..selectors.access import goals_for, repositories_for
from ..selectors.overview import Overview, overview_page
from .acting import needs
from .asking import page_or_fragment


@needs(Action.SEE)
@require_safe
def overview(request: HttpRequest) -> HttpResponse:
    """Page and fragment alike; the page asks for the fragment every few seconds."""
    page = overview_page(request.user)
    context = {"page": page, "steps": first_steps(_facts(request, page))}
    return page_or_fragment(request, "orchestration/overview.html", "orchestration/_overview.html", context)


def _facts(request: HttpRequest, page: Overview) -> Facts:
    return Facts(
        model=doctor.model_settings().status == "ok" or goals_for(request.user).exclude(model="").exists(),
        worker=page.workers > 0,
        beat=not page.is_beat_silent,
        repository=bool(settings.REPO_ROOTS) or repositories_for(request.user).exists(),
        goal=page.goals > 0,
    )

"""Model providers: the list, and for admins the forms that change a team's. A key is typed and never shown."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST, require_safe

from .. import services
from ..errors import BadInput, NotAllowed, NotFound
from ..roles import Action
from ..selectors.access import own_providers_for, team_for, teams_where
from ..selectors.providers import provider_rows
from ..services.providers import LIMITS
from .acting import needs


@needs(Action.SEE)
@require_safe
def provider_list(request: HttpRequest) -> HttpResponse:
    teams = list(teams_where(request.user, Action.MANAGE_PROVIDERS))
    context = {"rows": provider_rows(request.user), "teams": teams, "managed": {team.pk for team in teams}}
    return render(request, "orchestration/provider_list.html", context)


@needs(Action.MANAGE_PROVIDERS)
@sensitive_post_parameters("key")
@require_POST
def provider_add(request: HttpRequest) -> HttpResponse:
    def act() -> str:
        named = _typed(request, "team")
        team = team_for(request.user, Action.MANAGE_PROVIDERS, named) or services.default_team()
        made = services.add_provider(_typed(request, "name"), team=team, by=_name(request), **_said(request))
        return f"{made} can be used by the team {team}: {made}/model in a goal's models."

    return _told(request, act)


@needs(Action.MANAGE_PROVIDERS)
@sensitive_post_parameters("key")
@require_POST
def provider_change(request: HttpRequest, provider_id: UUID) -> HttpResponse:
    row = get_object_or_404(own_providers_for(request.user), pk=provider_id)
    return _told(
        request, lambda: f"{services.change_provider(row.pk, by=_name(request), **_said(request))} is changed."
    )


@needs(Action.MANAGE_PROVIDERS)
@require_POST
def provider_remove(request: HttpRequest, provider_id: UUID) -> HttpResponse:
    row = get_object_or_404(own_providers_for(request.user), pk=provider_id)
    return _told(request, lambda: f"{services.remove_provider(row.pk, by=_name(request))} is removed, with its key.")


def _told(request: HttpRequest, act: Any) -> HttpResponse:
    try:
        messages.success(request, act())
    except (BadInput, NotAllowed, NotFound) as error:
        messages.error(request, f"Nothing was changed: {error}.")
    return redirect("orchestration:provider-list")


def _said(request: HttpRequest) -> dict[str, Any]:
    """What was typed; a key that is left empty stays as it is."""
    said: dict[str, Any] = {name: _number(request, name) for name in LIMITS if name in request.POST}
    if "model_names" in request.POST:
        said["model_names"] = _typed(request, "model_names").replace(",", " ").split()
    for name in ("base_url", "key"):
        if value := _typed(request, name):
            said[name] = value
    return said


def _number(request: HttpRequest, name: str) -> int | None:
    text = _typed(request, name)
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > 12:
        raise BadInput(f"{name.replace('_', ' ')} is a whole number, or empty for no limit")
    return int(text)


def _typed(request: HttpRequest, name: str) -> str:
    return str(request.POST.get(name, "")).strip()


def _name(request: HttpRequest) -> str:
    return str(request.user.get_username())

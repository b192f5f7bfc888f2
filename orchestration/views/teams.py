"""Teams: who is in them as what, and for admins the forms that change it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from .. import services
from ..errors import BadInput, IllegalMove, NotFound
from ..models import Membership
from ..roles import TABLE, Action, Role, may
from ..selectors.access import members_for
from ..selectors.months import month_money
from ..selectors.teams import team_page, team_rows
from .acting import needs

LATEST = 50  # changes that a page shows


@needs(Action.SEE)
@require_safe
def team_list(request: HttpRequest) -> HttpResponse:
    return render(request, "orchestration/team_list.html", {"rows": team_rows(request.user)})


@needs(Action.SEE)
@require_safe
def team_detail(request: HttpRequest, team_id: UUID) -> HttpResponse:
    page = team_page(request.user, team_id, LATEST)
    context = {
        "page": page,
        "may_manage": may(page.role, Action.MANAGE_MEMBERS),
        "may_limit": may(page.role, Action.MANAGE_MONEY),
        "may_see_costs": may(page.role, Action.SEE_COSTS),
        "month": month_money(page.team),
        "may_audit": may(page.role, Action.SEE_AUDIT),
        "roles": [(role, [action.label for action in Action if action in TABLE[role]]) for role in Role],
    }
    return render(request, "orchestration/team_detail.html", context)


@needs(Action.MANAGE_MONEY)
@require_POST
def team_limit(request: HttpRequest, team_id: UUID) -> HttpResponse:
    team = team_page(request.user, team_id, 0).team

    def act() -> str:
        services.set_month_limit(team, _typed(request, "usd") or None, by=_name(request))
        return f"The month's limit is changed: {month_money(team)}."

    return _told(request, act, team_id)


@needs(Action.MANAGE_MEMBERS)
@require_POST
def member_add(request: HttpRequest, team_id: UUID) -> HttpResponse:
    team = team_page(request.user, team_id, 0).team

    def act() -> str:
        made = services.add_member(team, _typed(request, "user"), _typed(request, "role"), by=_name(request))
        return f"{made.user} is in the team, as {made.role}."

    return _told(request, act, team_id)


@needs(Action.MANAGE_MEMBERS)
@require_POST
def member_role(request: HttpRequest, member_id: UUID) -> HttpResponse:
    member = _member(request, member_id)

    def act() -> str:
        changed = services.change_role(member.pk, _typed(request, "role"), by=_name(request))
        return f"{changed.user} is {changed.role} now."

    return _told(request, act, member.team_id)


@needs(Action.MANAGE_MEMBERS)
@require_POST
def member_remove(request: HttpRequest, member_id: UUID) -> HttpResponse:
    member = _member(request, member_id)

    def act() -> str:
        gone = services.remove_member(member.pk, by=_name(request))
        return f"{gone.user} is not in the team any more; what they made stays."

    answer = _told(request, act, member.team_id)
    is_still_in = members_for(request.user).filter(team=member.team_id).exists()
    return answer if is_still_in else redirect("orchestration:team-list")


def _told(request: HttpRequest, act: Any, team_id: UUID) -> HttpResponse:
    """Whatever comes of it is said on the team's page."""
    try:
        messages.success(request, act())
    except (BadInput, IllegalMove, NotFound) as error:
        messages.error(request, f"Nothing was changed: {error}.")
    return redirect("orchestration:team-detail", team_id)


def _member(request: HttpRequest, member_id: UUID) -> Membership:
    return get_object_or_404(members_for(request.user), pk=member_id)


def _typed(request: HttpRequest, name: str) -> str:
    return str(request.POST.get(name, "")).strip()


def _name(request: HttpRequest) -> str:
    return str(request.user.get_username())

"""Which action each page is, and whether this user may do it: the panel's one place for rights. What nobody has marked is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest

from ..errors import NotAllowed
from ..roles import Action
from ..selectors.access import (
    TEAM,
    approvals_for,
    goals_for,
    members_for,
    own_providers_for,
    questions_for,
    require,
    require_somewhere,
    schedules_for,
    teams_for,
)

View = TypeVar("View", bound=Callable[..., Any])
OWN = "own"  # a person's own things, and what the installation shows to whoever may log in
Needs = Action | str | Mapping[str, Action]
PANEL = "orchestration"
NAMED: dict[str, Callable[[Any], QuerySet[Any]]] = {
    "goal_id": goals_for,
    "approval_id": approvals_for,
    "question_id": questions_for,
    "schedule_id": schedules_for,
    "member_id": members_for,
    "provider_id": own_providers_for,
    "team_id": teams_for,
}


def needs(wanted: Needs) -> Callable[[View], View]:
    """Mark a view: by its action, OWN, or a mapping from the `verb` of its address to actions."""

    def mark(view: View) -> View:
        view.needs = wanted  # type: ignore[attr-defined]
        return view

    return mark


def action_of(view: Any, verb: str = "") -> Action | str:
    """Raises Http404 for a verb that there is not, PermissionDenied for a view without a mark."""
    wanted: Needs | None = getattr(view, "needs", None)
    if wanted is None:
        raise PermissionDenied("nobody has said yet who may do this")
    if isinstance(wanted, str):
        return wanted
    if verb not in wanted:
        raise Http404
    return wanted[verb]


def refuse_what_is_not_allowed(request: HttpRequest, view: Any, named: Mapping[str, Any]) -> None:
    """Before the view: not found is what belongs to other teams, not allowed what the role there does not cover.

    To see needs no look here: each selector starts from the user's teams, and every role may.
    """
    action = action_of(view, str(named.get("verb", "")))
    if action in (OWN, Action.SEE):
        return
    try:
        _require(request.user, Action(action), named)
    except NotAllowed as error:
        raise PermissionDenied(str(error)) from error


def _require(user: Any, action: Action, named: Mapping[str, Any]) -> None:
    for name, rows_for in NAMED.items():
        if name in named:
            rows = rows_for(user).filter(pk=named[name])
            team = rows.values_list(TEAM[rows.model], flat=True).first()
            if team is None:
                raise Http404
            require(user, action, team)
            return
    require_somewhere(user, action)

"""Whether this user may do it: the API's one place for rights. Each view says in `acts` which action each of its methods is."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request

from ..models import Team
from ..roles import Action
from ..selectors.access import require, require_somewhere

NO_METHOD = (None, "metadata")  # there is none of this name: 405 says it better
READS: dict[str, Action] = {"list": Action.SEE, "retrieve": Action.SEE}


class Allowed(IsAuthenticated):
    """Logged in, and a role that covers it: of the row's team, or for what is not there yet of some team. What is not said is refused.

    To see needs no look here: each queryset starts from the user's teams (`selectors.access`), and every role may.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        if not super().has_permission(request, view):
            return False
        action = action_of(view)
        if action is None:
            return getattr(view, "action", None) in NO_METHOD
        if action != Action.SEE and not view.detail:
            require_somewhere(request.user, action)
        return True

    def has_object_permission(self, request: Request, view: Any, row: Any) -> bool:
        action = action_of(view)
        if action is not None and action != Action.SEE:
            require(request.user, action, row.pk if isinstance(row, Team) else row.team_id)
        return action is not None


def action_of(view: Any) -> Action | None:
    acts: dict[str, Action] = getattr(view, "acts", {})
    return acts.get(getattr(view, "action", None) or "")

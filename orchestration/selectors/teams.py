"""Teams as their pages show them: constant numbers of queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count
from django.shortcuts import get_object_or_404

from ..models import Membership, Team, TeamEvent
from ..roles import Action, may
from .access import members_for, team_events_for, teams_for, with_role


@dataclass(frozen=True, slots=True)
class TeamPage:
    """`events` only for whoever may see them."""

    team: Team
    role: str | None
    members: Sequence[Membership]
    events: Sequence[TeamEvent]


def team_rows(user: Any) -> list[Team]:
    """Each with `role`, this user's, and `people`."""
    rows = with_role(teams_for(user).annotate(people=Count("memberships")), user, "pk")
    return list(rows.order_by("name"))


def team_page(user: Any, team_id: Any, latest: int) -> TeamPage:
    """Raises Http404 for a team that this user is not in."""
    team = get_object_or_404(with_role(teams_for(user), user, "pk"), pk=team_id)
    members = members_for(user).filter(team=team).select_related("user").order_by("user__username")
    events = team_events_for(user).filter(team=team)[:latest] if may(team.role, Action.SEE_AUDIT) else []
    return TeamPage(team, team.role, list(members), list(events))

"""People with a role in a team: who belongs to none sees nothing."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User

from orchestration.models import Membership, Team
from orchestration.roles import Role

ELSEWHERE = "elsewhere"  # the team of those who must not see what the others do


def team(name: str = "default") -> Team:
    return Team.objects.get_or_create(name=name)[0]


def member(name: str, role: str = Role.OPERATOR, team_name: str = "default", **more: Any) -> User:
    """A new user, in this team as this."""
    user = User.objects.create_user(name, **more)
    join(user, role, team_name)
    return user


def join(user: User, role: str = Role.OPERATOR, team_name: str = "default") -> User:
    Membership.objects.update_or_create(team=team(team_name), user=user, defaults={"role": role})
    return user


def outsider(name: str, **more: Any) -> User:
    """Somebody who may do everything, in a team of their own."""
    return member(name, Role.ADMIN, ELSEWHERE, **more)

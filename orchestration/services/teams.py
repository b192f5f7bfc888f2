"""Teams and who is in them. Each change is a TeamEvent in its own transaction, and a line in the log."""

from __future__ import annotations

import logging
import re
from typing import Any

from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction

from ..errors import BadInput, IllegalMove, NotFound
from ..models import Membership, Team, TeamEvent
from ..roles import Action, Role
from ..selectors.access import find_team, team_for
from ..transitions import repeatable
from .cleaning import shown

log = logging.getLogger(__name__)
DEFAULT = "default"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")


def default_team() -> Team:
    """Where a machine with one team has everything; made when the first thing needs it."""
    return Team.objects.order_by("created_at", "pk").first() or Team.objects.get_or_create(name=DEFAULT)[0]


def team_of_machine(named: str = "") -> Team:
    """For whoever has a shell here and is no user: the team that they name, else the only one. Raises BadInput."""
    if named:
        return find_team(Team.objects.all(), named)
    teams = list(Team.objects.all()[:20])
    if len(teams) > 1:
        raise BadInput(f"there are several teams; say which (--team): {', '.join(team.name for team in teams)}")
    return teams[0] if teams else default_team()


def team_to(team: Team | str | None, by: Any, action: Action, repository: Any = None) -> Team:
    """Where something new of `by` goes; without a user, of this machine. Raises what `team_for` raises."""
    if isinstance(team, Team):
        return team
    if by is None:
        return team_of_machine(team or "")
    return team_for(by, action, team or "", repository) or default_team()


@repeatable
def create_team(name: str, *, admin: Any = None, by: str) -> Team:
    """Raises BadInput when the name is taken or unfit."""
    if not NAME.fullmatch(name):
        raise BadInput(f"a team's name is a word of letters, digits, dots and dashes (at most 60), not {shown(name)}")
    try:
        with transaction.atomic():
            team = Team.objects.create(name=name)
            note(team, "team.created", by)
            if admin is not None:
                add_member(team, admin, Role.ADMIN, by=by)
            return team
    except IntegrityError:
        raise BadInput(f"there is a team {name} already") from None


@repeatable
def set_four_eyes(team: Team, wanted: bool, *, by: str) -> Team:
    """May who wanted a plan approve it? Counts for the plans that are asked about from now on."""
    with transaction.atomic():
        if Team.objects.filter(pk=team.pk).exclude(four_eyes=wanted).update(four_eyes=wanted):
            note(team, "team.four_eyes", by, new="on" if wanted else "off")
        team.four_eyes = wanted
        return team


@repeatable
def add_member(team: Team, user: Any, role: str, *, by: str) -> Membership:
    """`user`: a row, or a name. Raises BadInput for one who is in it already, and for a name that nobody has."""
    role, user = _role(role), _user(user)
    with transaction.atomic():
        made, is_new = Membership.objects.get_or_create(team=team, user=user, defaults={"role": role})
        if not is_new:
            raise BadInput(f"{user} is in the team {team} already, as {made.role}: change the role instead")
        note(team, "member.added", by, user.get_username(), new=role)
        return made


@repeatable
def change_role(member_id: Any, role: str, *, by: str) -> Membership:
    """Raises NotFound, BadInput for no role of ours, IllegalMove for the last admin."""
    role = _role(role)
    with transaction.atomic():
        member = _locked(member_id)
        if member.role == role:
            return member
        if role != Role.ADMIN:
            _not_the_last_admin(member)
        Membership.objects.filter(pk=member.pk).update(role=role)
        note(member.team, "member.role", by, member.user.get_username(), old=member.role, new=role)
        member.role = role
        return member


@repeatable
def remove_member(member_id: Any, *, by: str) -> Membership:
    """From this commit on they, and their tokens, find nothing of the team. Raises NotFound, IllegalMove for the last admin."""
    with transaction.atomic():
        member = _locked(member_id)
        _not_the_last_admin(member)
        Membership.objects.filter(pk=member.pk).delete()
        note(member.team, "member.removed", by, member.user.get_username(), old=member.role)
        return member


def member_of(team: Team, name: str) -> Membership:
    """Raises NotFound."""
    found = Membership.objects.filter(team=team, user__username=name).first()
    if found is None:
        raise NotFound(f"there is no {shown(name)} in the team {team}")
    return found


def _locked(member_id: Any) -> Membership:
    """The team's row is the lock: two admins who remove each other come one after the other."""
    member = Membership.objects.filter(pk=member_id).first()
    if member is not None:
        Team.objects.select_for_update(no_key=True).get(pk=member.team_id)
        member = Membership.objects.select_related("team", "user").filter(pk=member_id).first()
    if member is None:
        raise NotFound("there is no such member")
    return member


def _not_the_last_admin(member: Membership) -> None:
    """Who cannot log in is no admin to count on."""
    if member.role != Role.ADMIN:
        return
    others = Membership.objects.filter(team=member.team_id, role=Role.ADMIN, user__is_active=True).exclude(pk=member.pk)
    if not others.exists():
        raise IllegalMove(f"{member.user} is the last admin of the team {member.team}: make somebody else one first")


def _role(role: str) -> str:
    if role not in Role.values:
        raise BadInput(f"unknown role {shown(role)}; there are {', '.join(Role.values)}")
    return str(role)


def _user(user: Any) -> Any:
    if not isinstance(user, str):
        return user
    found = get_user_model().objects.filter(username=user).first() if user.isprintable() else None
    if found is None:
        raise BadInput(f"there is no user {shown(user)}; make one: manage.py invite NAME --team TEAM --role ROLE")
    return found


def note(team: Team, kind: str, by: str, subject: str = "", *, old: str = "", new: str = "") -> None:
    TeamEvent.objects.create(team=team, kind=kind, subject=subject, old=old, new=new, by=by)
    log.info("team %s: %s %s %s→%s by %s", team, kind, subject, old, new, by)

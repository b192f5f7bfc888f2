"""PURE: who may do what. One table, role by action; a test walks it over every page, every route of the API, every command.

A role is had in a team, one each. Superusers run the installation: they are admins of every team.
"""

from __future__ import annotations

from django.db.models import TextChoices


class Role(TextChoices):
    VIEWER = "viewer", "viewer"
    OPERATOR = "operator", "operator"
    APPROVER = "approver", "approver"
    AUDITOR = "auditor", "auditor"
    ADMIN = "admin", "admin"


class Action(TextChoices):
    """The verbs of the services; the label ends "only … may"."""

    SEE = "see", "see goals, schedules, repositories and members"
    SEE_COSTS = "see_costs", "see what goals cost"
    SEE_AUDIT = "see_audit", "see who changed the members"
    SUBMIT = "submit", "submit goals"
    CANCEL = "cancel", "cancel goals"
    PAUSE = "pause", "pause goals"
    RESUME = "resume", "resume goals"
    RETRY = "retry", "retry goals"
    PICK = "pick", "pick another result"
    MESSAGE = "message", "write to running goals"
    PRIORITIZE = "prioritize", "change the priority of goals"
    APPROVE = "approve", "approve"
    OVERRIDE = "override", "skip steps, mark them done and override verdicts"
    MANAGE_SCHEDULES = "manage_schedules", "make, change and run schedules"
    MANAGE_REPOSITORIES = "manage_repositories", "register repositories"
    MANAGE_MONEY = "manage_money", "set prices and what a month may cost"
    MANAGE_CAPS = "manage_caps", "set how many goals may run"
    MANAGE_MEMBERS = "manage_members", "change the members"
    MANAGE_PROVIDERS = "manage_providers", "add, change and remove model providers"


LOOK = frozenset({Action.SEE, Action.SEE_COSTS})
OPERATE = LOOK | {
    *(Action.SUBMIT, Action.CANCEL, Action.PAUSE, Action.RESUME, Action.RETRY, Action.PICK, Action.MESSAGE),
    *(Action.PRIORITIZE, Action.MANAGE_SCHEDULES),
}
TABLE: dict[Role, frozenset[Action]] = {
    Role.VIEWER: LOOK,
    Role.OPERATOR: OPERATE,
    Role.APPROVER: OPERATE | {Action.APPROVE, Action.OVERRIDE},
    Role.AUDITOR: LOOK | {Action.SEE_AUDIT},
    Role.ADMIN: frozenset(Action),
}


def may(role: str | None, action: Action) -> bool:
    """None, and what is no role, may nothing."""
    return role in Role.values and action in TABLE[Role(role)]


def roles_that_may(action: Action) -> list[Role]:
    return [role for role in Role if may(role, action)]


def refusal(role: str | None, action: Action, team: str = "") -> str:
    """Why not, and what to do, in a sentence."""
    who = "admins" if roles_that_may(action) == [Role.ADMIN] else _listed(roles_that_may(action))
    where = f" of the team {team}" if team else ""
    you = f"you are {_a(role)}{where}" if role else "in none of your teams you have a role that allows it"
    return f"{you}, and only {who} may {action.label}; an admin of the team can give you another role"


def _listed(roles: list[Role]) -> str:
    words = [f"{role.label}s" for role in roles]
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _a(role: str) -> str:
    return f"{'an' if role[0] in 'aeiou' else 'a'} {role}"

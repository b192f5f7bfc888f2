"""What a user may see: every queryset of page, API and admin starts here, from their teams. Foreign ids are "not found".

Superusers run the installation: every team is theirs. What a role may do beyond seeing says `orchestration.roles`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Model, OuterRef, Q, QuerySet, Subquery, Value

from ..errors import BadInput, NotAllowed
from ..models import (
    ApiToken,
    Approval,
    Artifact,
    Budget,
    Call,
    Check,
    Event,
    Goal,
    Membership,
    Message,
    ModelPrice,
    Occurrence,
    Plan,
    Provider,
    Question,
    RecurringGoal,
    Repository,
    Review,
    Rollout,
    Run,
    Step,
    Team,
    TeamEvent,
    TeamMonth,
    Telling,
)
from ..roles import TABLE, Action, Role, may, refusal, roles_that_may

# The way from a row to its team. What has none (workers, leases, breakers …) is the installation's.
TEAM: dict[type[Model], str] = {
    Team: "pk",
    Membership: "team",
    TeamEvent: "team",
    TeamMonth: "team",
    ModelPrice: "team",  # with everybody's: see `visible`
    Goal: "team",
    RecurringGoal: "team",
    Repository: "team",
    Provider: "team",
    Rollout: "goal__team",
    Run: "goal__team",
    Event: "goal__team",
    Check: "goal__team",
    Budget: "goal__team",
    Artifact: "goal__team",
    Approval: "goal__team",
    Question: "goal__team",
    Message: "goal__team",
    Telling: "run__goal__team",
    Plan: "rollout__goal__team",
    Step: "rollout__goal__team",
    Review: "rollout__goal__team",
    Call: "run__goal__team",
    Occurrence: "schedule__team",
}


def visible(rows: QuerySet[Any], user: Any) -> QuerySet[Any]:
    """Those of the user's teams. An artifact that belongs to no goal is for superusers."""
    if not getattr(user, "is_active", False):
        return rows.none()
    if user.is_superuser:
        return rows
    theirs = Q(**{f"{TEAM[rows.model]}__in": Membership.objects.filter(user=user.pk).values("team")})
    return rows.filter(theirs | Q(team=None) if rows.model is ModelPrice else theirs)


def goals_for(user: Any) -> QuerySet[Goal]:
    return visible(Goal.objects.all(), user)


def schedules_for(user: Any) -> QuerySet[RecurringGoal]:
    return visible(RecurringGoal.objects.all(), user)


def rollouts_for(user: Any) -> QuerySet[Rollout]:
    return visible(Rollout.objects.all(), user)


def plans_for(user: Any) -> QuerySet[Plan]:
    return visible(Plan.objects.all(), user)


def steps_for(user: Any) -> QuerySet[Step]:
    return visible(Step.objects.all(), user)


def runs_for(user: Any) -> QuerySet[Run]:
    return visible(Run.objects.all(), user)


def calls_for(user: Any) -> QuerySet[Call]:
    return visible(Call.objects.all(), user)


def reviews_for(user: Any) -> QuerySet[Review]:
    return visible(Review.objects.all(), user)


def events_for(user: Any) -> QuerySet[Event]:
    return visible(Event.objects.all(), user)


def approvals_for(user: Any) -> QuerySet[Approval]:
    return visible(Approval.objects.all(), user)


def questions_for(user: Any) -> QuerySet[Question]:
    return visible(Question.objects.all(), user)


def artifacts_for(user: Any) -> QuerySet[Artifact]:
    """Without their bytes: whoever needs those asks `blobs.load_blob`."""
    return visible(Artifact.objects.defer("data"), user)


def tokens_for(user: Any) -> QuerySet[ApiToken]:
    """A person's own, for superusers too: whose program it is matters."""
    return ApiToken.objects.filter(user=user.pk) if getattr(user, "is_active", False) else ApiToken.objects.none()


def repositories_for(user: Any) -> QuerySet[Repository]:
    """Those that a new goal may start from; a removed one is only known to the goals that were made of it."""
    return visible(Repository.objects.filter(removed_at=None), user)


def providers_for(user: Any) -> QuerySet[Provider]:
    """Their teams' and the installation's: those may be used by everybody."""
    shared = Provider.objects.filter(team=None) if getattr(user, "is_active", False) else Provider.objects.none()
    return visible(Provider.objects.all(), user) | shared


def own_providers_for(user: Any) -> QuerySet[Provider]:
    """Those that can be managed by somebody of a team: the installation's are changed where it runs."""
    return visible(Provider.objects.exclude(team=None), user)


def teams_for(user: Any) -> QuerySet[Team]:
    return visible(Team.objects.all(), user)


def members_for(user: Any) -> QuerySet[Membership]:
    return visible(Membership.objects.all(), user)


def prices_for(user: Any) -> QuerySet[ModelPrice]:
    """Those that count for somebody's teams: everybody's, and the teams' own."""
    return visible(ModelPrice.objects.all(), user)


def team_events_for(user: Any) -> QuerySet[TeamEvent]:
    return visible(TeamEvent.objects.all(), user)


# ---- what a user may do


def role_in(user: Any, team_id: Any) -> str | None:
    """None: not a member."""
    if not getattr(user, "is_active", False):
        return None
    if user.is_superuser:
        return Role.ADMIN
    return Membership.objects.filter(user=user.pk, team=team_id).values_list("role", flat=True).first()


def require(user: Any, action: Action, team_id: Any) -> None:
    """Raises NotAllowed with why not."""
    role = role_in(user, team_id)
    if not may(role, action):
        name = Team.objects.filter(pk=team_id).values_list("name", flat=True).first()
        raise NotAllowed(refusal(role, action, name or ""))


def teams_where(user: Any, action: Action) -> QuerySet[Team]:
    """The teams in which this user may do it."""
    teams = teams_for(user)
    if getattr(user, "is_superuser", False):
        return teams
    held = Membership.objects.filter(user=user.pk, role__in=roles_that_may(action))
    return teams.filter(pk__in=held.values("team"))


def repositories_where(user: Any, action: Action) -> QuerySet[Repository]:
    """Of the teams in which this user may do it."""
    offered = repositories_for(user).filter(team__in=teams_where(user, action))
    found: QuerySet[Repository] = offered.select_related("team").order_by("team__name", "path")
    return found


def require_somewhere(user: Any, action: Action) -> None:
    """For what is not there yet, before it is known where it goes. Raises NotAllowed."""
    if not getattr(user, "is_superuser", False) and not teams_where(user, action).exists():
        held = set(members_for(user).filter(user=user.pk).values_list("role", flat=True))
        raise NotAllowed(refusal(held.pop() if len(held) == 1 else None, action))


@dataclass(frozen=True, slots=True)
class Standing:
    """What a page offers to somebody: how many teams they have, and what they may do in some of them or other."""

    teams: int = 0
    actions: frozenset[Action] = frozenset()


def standing_of(user: Any) -> Standing:
    """One query."""
    if not getattr(user, "is_active", False):
        return Standing()
    if user.is_superuser:
        return Standing(Team.objects.count(), frozenset(Action))
    held = list(Membership.objects.filter(user=user.pk).values_list("role", flat=True))
    return Standing(len(held), frozenset(action for role in held for action in TABLE[Role(role)]))


def with_role(rows: QuerySet[Any], user: Any, team: str = "team") -> QuerySet[Any]:
    """Each with `role`, this user's in its team."""
    mine = Membership.objects.filter(team=OuterRef(team), user=user.pk).values("role")[:1]
    role = Value(Role.ADMIN.value) if getattr(user, "is_superuser", False) else Subquery(mine)
    found: QuerySet[Any] = rows.annotate(role=role)
    return found


def team_for(user: Any, action: Action, named: str = "", repository: Any = None) -> Team | None:
    """Where something new goes: the team that was named (by name or id), else the user's only one, else the repository's.

    None: there is no team at all yet. Raises NotAllowed where their role does not allow it, BadInput for a team that they are not in,
    and when they must say which.
    """
    if named:
        team = find_team(teams_for(user), named)
        require(user, action, team.pk)
        return team
    fit = list(_own_first(user, teams_where(user, action)))
    if not fit:
        require_somewhere(user, action)
        return None
    if len(fit) > 1 and repository is not None:
        fit = [team for team in fit if team.pk == _team_of(repository)] or fit
    if len(fit) > 1:
        raise BadInput(f"say which team it is for: {', '.join(team.name for team in fit)}")
    return fit[0]


def find_team(teams: QuerySet[Team], named: str) -> Team:
    """By its name, else by its id. Raises BadInput."""
    found = teams.filter(name=named).first() if named.isprintable() else None
    if found is None and (key := _uuid(named)) is not None:
        found = teams.filter(pk=key).first()
    if found is None:
        raise BadInput(f"there is no team {named[:60]!r} that you may see")
    return found


def _own_first(user: Any, teams: QuerySet[Team]) -> QuerySet[Team]:
    """A superuser's only team is the default for them too, however many others there are."""
    if not user.is_superuser:
        return teams
    own = teams.filter(memberships__user=user.pk)
    return own if own.exists() else teams


def _team_of(repository: Any) -> Any:
    if isinstance(repository, Repository):
        return repository.team_id
    if isinstance(repository, UUID):
        return Repository.objects.filter(pk=repository).values_list("team_id", flat=True).first()
    return None


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None

"""Which models a goal asks for: checked against the providers of its team, and completed by what the team does by default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.db import transaction

from ..errors import BadInput
from ..models import Team, TeamEvent
from ..role_models import ROLES, cleaned, parse, providers_in, split
from ..transitions import repeatable
from .providers import known_providers

Given = Mapping[str, Sequence[str]] | Sequence[str] | None


def check_role_models(given: Given) -> dict[str, list[str]]:
    """Its shape; whether the providers are there is known when a goal is made. Raises BadInput."""
    try:
        if given is None or isinstance(given, Mapping):
            return cleaned(given or {})
        return parse([given] if isinstance(given, str) else given)
    except (ValueError, TypeError) as error:
        raise BadInput(str(error)) from error


def models_for(team: Team, given: Given) -> dict[str, list[str]]:
    """A goal's own, else by role the team's. Nothing is asked of the database where neither says anything. Raises BadInput."""
    own = check_role_models(given)
    told = {role: chain for role in ROLES if (chain := own.get(role) or team.role_models.get(role))}
    if told:
        _refuse_unknown(team, told)
    return told


@repeatable
def set_team_models(team: Team, given: Given, *, by: str) -> Team:
    """For goals that name none themselves, from now on. Raises BadInput."""
    told = check_role_models(given)
    with transaction.atomic():
        _refuse_unknown(team, told)
        if Team.objects.filter(pk=team.pk).exclude(role_models=told).update(role_models=told):
            TeamEvent.objects.create(team=team, kind="team.models", by=by)
        team.role_models = told
        return team


def _refuse_unknown(team: Team, told: Mapping[str, Sequence[str]]) -> None:
    known = known_providers(team, sorted(providers_in(told)))
    for name in dict.fromkeys(name for chain in told.values() for name in chain):
        provider, model = split(name)
        row = known.get(provider)
        if row is None and provider in providers_in({"": [name]}):
            raise BadInput(
                f"the team {team} knows no provider {provider!r}: an admin adds one (manage.py provider add {provider} …); "
                f"the machine's own model is called `environment`"
            )
        if row is not None and row.model_names and model not in row.model_names:
            raise BadInput(
                f"the provider {provider} offers no model {model!r}; it offers {', '.join(row.model_names[:10])}"
            )

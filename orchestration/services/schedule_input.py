"""What people type about a schedule, checked: the columns of a row, or a sentence about what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from django.utils import timezone

from ..errors import BadInput
from ..models import Repository, Team
from ..schedule import BadSchedule, next_times, parse_cron, zone_of
from ..states import MissedPolicy, OverlapPolicy
from .cleaning import clean_checks, clean_context, clean_line, clean_text
from .modelling import check_role_models
from .repositories import find_place
from .submitting import (
    check_approval,
    check_diversity,
    check_limits,
    check_priority,
    check_review,
    check_rollouts,
    check_stagger,
    check_strategy,
)

MOST_ROLLOUTS = 16  # whether they fit the number of rollouts is known when a goal is made

CLEANERS: dict[str, Callable[[Any], Any]] = {
    "name": lambda value: _named(value),
    "cron": lambda value: _cron(value),
    "zone": lambda value: _zone(value),
    "text": clean_text,
    "context": clean_context,
    "base_ref": lambda value: clean_line(value, "the ref", 250),
    "checks": lambda value: list(clean_checks(value)),
    "limits": check_limits,
    "priority": check_priority,
    "rollouts_wanted": check_rollouts,
    "strategy": check_strategy,
    "diversity": lambda value: [one.told() for one in check_diversity(value, MOST_ROLLOUTS)],
    "stagger_seconds": lambda value: check_stagger(value, MOST_ROLLOUTS),
    "role_models": check_role_models,
    "allow_check_edits": bool,
    "approval": check_approval,
    "review": lambda value: asdict(check_review(value)) if value else {},
    "overlap": lambda value: _one_of(value, OverlapPolicy, "overlap policy"),
    "missed": lambda value: _one_of(value, MissedPolicy, "policy for missed times"),
}


def cleaned(wanted: dict[str, Any]) -> dict[str, Any]:
    """The columns. Raises BadInput."""
    if unknown := sorted(set(wanted) - set(CLEANERS)):
        raise BadInput(f"a schedule has no {', '.join(unknown)}; it has {', '.join(sorted(CLEANERS))}")
    return {name: CLEANERS[name](value) for name, value in wanted.items()}


def repository_of(repo: Repository | str | None, team: Team, allow: bool) -> Repository | None:
    """One of the team's as it is, a path once it may be read, which registers it; nothing for "". Raises BadInput."""
    if not repo:
        return None
    if isinstance(repo, Repository) and repo.team_id == team.pk:
        return repo
    place = find_place(repo, team, allow=allow)
    return Repository.objects.update_or_create(team=team, path=place, defaults={"removed_at": None})[0]


def _named(value: object) -> str:
    name = clean_line(str(value or ""), "the schedule's name", 120)
    if not name:
        raise BadInput("the schedule has no name: give a short one, for example `nightly tests`")
    return name


def _cron(value: object) -> str:
    try:
        cron, text = parse_cron(str(value or "")), " ".join(str(value).split())
        if not next_times(cron, zone_of("UTC"), timezone.now(), 1):
            raise BadInput(f"the cron expression {text!r} is never due")
    except BadSchedule as error:
        raise BadInput(str(error)) from error
    return clean_line(text, "the cron expression", 120)


def _zone(value: object) -> str:
    try:
        return zone_of(str(value or "")).key
    except BadSchedule as error:
        raise BadInput(str(error)) from error


def _one_of(value: object, choices: Any, what: str) -> str:
    if value not in choices.values:
        raise BadInput(f"unknown {what} {str(value)[:40]!r}; there are {', '.join(choices.values)}")
    return str(value)

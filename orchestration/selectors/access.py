"""What a user may see: every queryset of a page, of the API and of the admin's links starts here. Foreign ids are "not found".

Superusers see everything; others see the goals that they submitted, the schedules that they own, and what belongs to those.
Repositories are the installation's: whoever may log in may start from them.
"""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from ..models import ApiToken, Artifact, Call, Event, Goal, Plan, RecurringGoal, Repository, Review, Rollout, Run, Step


def goals_for(user: Any) -> QuerySet[Goal]:
    return _mine(Goal.objects.all(), user, "submitted_by")


def schedules_for(user: Any) -> QuerySet[RecurringGoal]:
    return _mine(RecurringGoal.objects.all(), user, "owner")


def rollouts_for(user: Any) -> QuerySet[Rollout]:
    return _mine(Rollout.objects.all(), user, "goal__submitted_by")


def plans_for(user: Any) -> QuerySet[Plan]:
    return _mine(Plan.objects.all(), user, "rollout__goal__submitted_by")


def steps_for(user: Any) -> QuerySet[Step]:
    return _mine(Step.objects.all(), user, "rollout__goal__submitted_by")


def runs_for(user: Any) -> QuerySet[Run]:
    return _mine(Run.objects.all(), user, "goal__submitted_by")


def calls_for(user: Any) -> QuerySet[Call]:
    return _mine(Call.objects.all(), user, "run__goal__submitted_by")


def reviews_for(user: Any) -> QuerySet[Review]:
    return _mine(Review.objects.all(), user, "rollout__goal__submitted_by")


def events_for(user: Any) -> QuerySet[Event]:
    return _mine(Event.objects.all(), user, "goal__submitted_by")


def artifacts_for(user: Any) -> QuerySet[Artifact]:
    """Without their bytes: whoever needs those asks `blobs.load_blob`. One that belongs to no goal is for superusers."""
    return _mine(Artifact.objects.defer("data"), user, "goal__submitted_by")


def tokens_for(user: Any) -> QuerySet[ApiToken]:
    """A person's own, for superusers too: whose program it is matters."""
    return ApiToken.objects.filter(user=user.pk) if getattr(user, "is_active", False) else ApiToken.objects.none()


def repositories_for(user: Any) -> QuerySet[Repository]:
    """Those that a new goal may start from; a removed one is only known to the goals that were made of it."""
    offered = Repository.objects.filter(removed_at=None)
    return offered if getattr(user, "is_active", False) else offered.none()


def _mine(rows: QuerySet[Any], user: Any, owner: str) -> QuerySet[Any]:
    if not getattr(user, "is_active", False):
        return rows.none()
    return rows if user.is_superuser else rows.filter(**{owner: user.pk})

"""What a goal left: its patch and its commits as a git bundle. Reads only; whoever asks has been let in to the goal already."""

from __future__ import annotations

from django.db.models import Q, QuerySet
from django.utils import timezone

from ..errors import NotFound
from ..models import Artifact, Goal, Rollout


def result_of(goal: Goal) -> Rollout:
    """The rollout that was selected, or the only one. Raises NotFound while there are several candidates."""
    if goal.selected is not None:
        return goal.selected
    rollouts = list(goal.rollouts.all()[:2])
    if len(rollouts) == 1:
        return rollouts[0]
    raise NotFound(
        f"none of goal {goal.short_id}'s rollouts is selected (yet); each has a patch and a bundle of its own"
    )


def rollout_of(goal: Goal, number: int) -> Rollout:
    """Raises NotFound."""
    found = goal.rollouts.filter(number=number).first()
    if found is None:
        raise NotFound(f"goal {goal.short_id} has no rollout {number}; it has 1 to {goal.rollouts_wanted}")
    return found


def patch_of(rollout: Rollout) -> str:
    """The artifact's id. Raises NotFound before the first review."""
    if rollout.patch_id is None:
        raise NotFound(f"{rollout} is {rollout.status} and has no patch (yet): its first review makes one")
    return rollout.patch_id


def bundle_of(rollout: Rollout) -> str:
    """The artifact's id. Raises NotFound before the first step is merged."""
    if rollout.head_bundle_id is None:
        raise NotFound(f"{rollout} is {rollout.status} and has no commits (yet)")
    return rollout.head_bundle_id


def still_kept(artifacts: QuerySet[Artifact]) -> QuerySet[Artifact]:
    """Without those whose time is over; they are swept sometime."""
    return artifacts.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()))

"""Filters of the collections that have no page of their own; the goals' are shared with the panel (`orchestration.filters`)."""

from __future__ import annotations

import django_filters

from ..models import (
    Approval,
    Artifact,
    Call,
    Event,
    Membership,
    Plan,
    Question,
    RecurringGoal,
    Review,
    Rollout,
    Run,
    Step,
)
from ..states import (
    ApprovalStatus,
    CallKind,
    CallStatus,
    QuestionStatus,
    Queue,
    RolloutStatus,
    RunKind,
    RunStatus,
    StepStatus,
)

MOST = 2**31 - 1  # what both databases can compare an event's number with


def _of_goal(path: str) -> django_filters.UUIDFilter:
    return django_filters.UUIDFilter(field_name=path, label="of this goal")


class OfGoal(django_filters.FilterSet):  # type: ignore[misc]  # no stubs
    goal = _of_goal("goal_id")


class RolloutFilter(OfGoal):
    status = django_filters.MultipleChoiceFilter(choices=RolloutStatus.choices)

    class Meta:
        model = Rollout
        fields: list[str] = []


class PlanFilter(django_filters.FilterSet):  # type: ignore[misc]  # no stubs
    goal = _of_goal("rollout__goal_id")
    rollout = django_filters.UUIDFilter(field_name="rollout_id")

    class Meta:
        model = Plan
        fields: list[str] = []


class StepFilter(PlanFilter):
    plan = django_filters.UUIDFilter(field_name="plan_id")
    status = django_filters.MultipleChoiceFilter(choices=StepStatus.choices)

    class Meta:
        model = Step
        fields: list[str] = []


class RunFilter(OfGoal):
    rollout = django_filters.UUIDFilter(field_name="rollout_id")
    plan = django_filters.UUIDFilter(field_name="plan_id")
    step = django_filters.UUIDFilter(field_name="step_id")
    kind = django_filters.MultipleChoiceFilter(choices=RunKind.choices)
    queue = django_filters.MultipleChoiceFilter(choices=Queue.choices)
    status = django_filters.MultipleChoiceFilter(choices=RunStatus.choices)

    class Meta:
        model = Run
        fields: list[str] = []


class CallFilter(django_filters.FilterSet):  # type: ignore[misc]  # no stubs
    goal = _of_goal("run__goal_id")
    run = django_filters.UUIDFilter(field_name="run_id")
    kind = django_filters.MultipleChoiceFilter(choices=CallKind.choices)
    status = django_filters.MultipleChoiceFilter(choices=CallStatus.choices)

    class Meta:
        model = Call
        fields: list[str] = []


class ReviewFilter(PlanFilter):
    class Meta:
        model = Review
        fields: list[str] = []


class GoalEventFilter(django_filters.FilterSet):  # type: ignore[misc]  # no stubs
    after = django_filters.NumberFilter(
        field_name="seq", lookup_expr="gt", min_value=0, max_value=MOST, decimal_places=0, label="events after this seq"
    )
    kind = django_filters.CharFilter(label="noun.what, for example goal.status")

    class Meta:
        model = Event
        fields: list[str] = []


class EventFilter(GoalEventFilter):
    goal = _of_goal("goal_id")


class ApprovalFilter(OfGoal):
    status = django_filters.MultipleChoiceFilter(choices=ApprovalStatus.choices)

    class Meta:
        model = Approval
        fields: list[str] = []


class QuestionFilter(OfGoal):
    status = django_filters.MultipleChoiceFilter(choices=QuestionStatus.choices)

    class Meta:
        model = Question
        fields: list[str] = []


class ArtifactFilter(OfGoal):
    kind = django_filters.CharFilter(label="patch, bundle, checkpoint, value …")

    class Meta:
        model = Artifact
        fields: list[str] = []


class MemberFilter(django_filters.FilterSet):  # type: ignore[misc]  # no stubs
    team = django_filters.CharFilter(field_name="team__name", label="of this team")
    user = django_filters.CharFilter(field_name="user__username")

    class Meta:
        model = Membership
        fields: list[str] = []


class ScheduleFilter(django_filters.FilterSet):  # type: ignore[misc]  # no stubs
    team = django_filters.CharFilter(field_name="team__name", label="of this team")
    name = django_filters.CharFilter(lookup_expr="icontains", label="words in the name")
    paused = django_filters.BooleanFilter(field_name="paused_at", lookup_expr="isnull", exclude=True)

    class Meta:
        model = RecurringGoal
        fields: list[str] = []

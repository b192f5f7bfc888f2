"""Schedules, in and out."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from ...models import Occurrence, RecurringGoal
from ...selectors.schedules import in_words, upcoming
from ...states import MissedPolicy, OverlapPolicy, Strategy
from .fields import Flag, Input, JSONObject, Limits, Number, Text
from .goals import REPOSITORY, TEAM, ApprovalPolicyInput, ReviewPolicy, RoleModels, Variation


class ScheduleChange(Input):
    """Only what is named changes; new times count from now."""

    name = Text(required=False, max_length=120)
    cron = Text(
        required=False, max_length=120, help_text="minute hour day-of-month month day-of-week, for example 30 2 * * *"
    )
    zone = Text(required=False, max_length=60, help_text="an IANA time zone, for example Europe/Berlin")
    overlap = serializers.ChoiceField(OverlapPolicy.choices, required=False)
    missed = serializers.ChoiceField(MissedPolicy.choices, required=False)
    text = Text(required=False, help_text="the goal")
    context = JSONObject(required=False)  # type: ignore[assignment]  # fields leave the class
    repository = Text(required=False, allow_blank=True, allow_null=True, max_length=1000, help_text=REPOSITORY)
    base_ref = Text(required=False, allow_blank=True, max_length=250)
    checks = serializers.ListField(child=Text(max_length=2000), required=False, max_length=20)
    limits = Limits(required=False)
    priority = Number(required=False, min_value=0, max_value=10, help_text="of its goals (5)")
    rollouts_wanted = Number(required=False, min_value=1, max_value=16)
    strategy = serializers.ChoiceField(Strategy.choices, required=False)
    diversity = serializers.ListField(child=Variation(), required=False, max_length=16)
    stagger_seconds = Number(required=False, allow_null=True, min_value=1, max_value=86400)
    role_models = RoleModels(required=False)
    allow_check_edits = Flag(required=False)
    approval = ApprovalPolicyInput(required=False)
    review = ReviewPolicy(required=False)


class ScheduleInput(ScheduleChange):
    team = Text(required=False, max_length=60, help_text=TEAM)
    name = Text(max_length=120)
    cron = Text(max_length=120, help_text="minute hour day-of-month month day-of-week, for example 30 2 * * *")
    text = Text(help_text="the goal")


class OccurrenceOut(serializers.ModelSerializer[Occurrence]):
    goal = serializers.UUIDField(source="goal_id", allow_null=True, read_only=True)

    class Meta:
        model = Occurrence
        fields = ["due_at", "outcome", "reason", "goal", "by"]
        read_only_fields = fields


class ScheduleOut(serializers.ModelSerializer[RecurringGoal]):
    words = serializers.SerializerMethodField(help_text="the cron expression in English")
    next_times = serializers.SerializerMethodField(help_text="the next five; none while it is paused")
    is_paused = serializers.BooleanField(read_only=True)
    team = serializers.CharField(source="team.name", read_only=True)
    owner = serializers.CharField(source="owner.username", default=None, allow_null=True, read_only=True)
    repository = serializers.UUIDField(source="repository_id", allow_null=True, read_only=True)
    context = JSONObject(read_only=True)  # type: ignore[assignment]  # fields leave the class
    checks = serializers.ListField(child=serializers.CharField(), read_only=True)
    limits = JSONObject(read_only=True)
    diversity = serializers.ListField(child=JSONObject(), read_only=True)
    role_models = JSONObject(read_only=True)
    approval = JSONObject(read_only=True, help_text="when a person must look at its goals' plans")
    review = JSONObject(read_only=True, help_text="how its goals are judged")
    occurrences = OccurrenceOut(source="shown", many=True, read_only=True, help_text="the last ten, newest first")

    class Meta:
        model = RecurringGoal
        fields = [
            "id",
            "team",
            "name",
            "cron",
            "words",
            "zone",
            "next_times",
            "overlap",
            "missed",
            "is_paused",
            "paused_at",
            "paused_by",
            "pause_reason",
            "text",
            "context",
            "repository",
            "base_ref",
            "checks",
            "allow_check_edits",
            "limits",
            "priority",
            "rollouts_wanted",
            "strategy",
            "diversity",
            "stagger_seconds",
            "role_models",
            "approval",
            "review",
            "owner",
            "last_due_at",
            "trouble",
            "created_at",
            "occurrences",
        ]
        read_only_fields = fields

    def get_words(self, schedule: RecurringGoal) -> str:
        return in_words(schedule.cron)

    @extend_schema_field(serializers.ListField(child=serializers.DateTimeField()))
    def get_next_times(self, schedule: RecurringGoal) -> list[str]:
        """In the schedule's own zone, so that a person recognises them."""
        return [due.isoformat() for due in upcoming(schedule)]

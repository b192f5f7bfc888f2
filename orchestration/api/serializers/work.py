"""The work on a goal, out only: rollouts, plans, steps, runs, calls, reviews."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from ...models import Call, Plan, Review, Rollout, Run, Step
from ...selectors.take_overs import take_overs_of
from .fields import AnyJSON, JSONObject


def _id(source: str) -> serializers.UUIDField:
    return serializers.UUIDField(source=source, read_only=True)


def _maybe(source: str) -> serializers.UUIDField:
    return serializers.UUIDField(source=source, allow_null=True, read_only=True)


def _texts() -> serializers.ListField:
    return serializers.ListField(child=serializers.CharField(), read_only=True)


class RolloutOut(serializers.ModelSerializer[Rollout]):
    goal = _id("goal_id")
    patch = serializers.CharField(source="patch_id", allow_null=True, read_only=True, help_text="artifact")
    bundle = serializers.CharField(source="head_bundle_id", allow_null=True, read_only=True, help_text="artifact")
    is_selected = serializers.SerializerMethodField()

    class Meta:
        model = Rollout
        fields = [
            "id",
            "goal",
            "number",
            "status",
            "reason",
            "hint",
            "diversity",
            "temperature",
            "model",
            "score",
            "tokens",
            "votes",
            "verified",
            "is_selected",
            "head",
            "branch",
            "patch",
            "bundle",
            "changed_lines",
            "replans",
            "review_rounds",
            "created_at",
            "ended_at",
        ]
        read_only_fields = fields

    def get_is_selected(self, rollout: Rollout) -> bool:
        return rollout.goal.selected_id == rollout.pk


class StepOut(serializers.ModelSerializer[Step]):
    goal = _id("rollout.goal_id")
    rollout = _id("rollout_id")
    plan = _id("plan_id")
    carried_from = _maybe("carried_from_id")
    tools_hint = _texts()
    writes = _texts()
    dependencies = serializers.ListField(child=serializers.IntegerField(), read_only=True)

    class Meta:
        model = Step
        fields = [
            "id",
            "goal",
            "rollout",
            "plan",
            "index",
            "description",
            "expected_outcome",
            "tools_hint",
            "dependencies",
            "can_parallelize",
            "priority",
            "estimated_complexity",
            "check_command",
            "writes",
            "guidance",
            "status",
            "reason",
            "commit",
            "summary",
            "carried_from",
            "ended_at",
        ]
        read_only_fields = fields


class PlanSummary(serializers.ModelSerializer[Plan]):
    goal = _id("rollout.goal_id")
    rollout = _id("rollout_id")

    class Meta:
        model = Plan
        fields = ["id", "goal", "rollout", "revision", "origin", "summary", "sha256", "created_at"]
        read_only_fields = fields


class PlanDetail(PlanSummary):
    steps = StepOut(many=True, read_only=True)

    class Meta(PlanSummary.Meta):
        fields = [*PlanSummary.Meta.fields, "steps"]
        read_only_fields = fields


class RunSummary(serializers.ModelSerializer[Run]):
    goal = _id("goal_id")
    rollout = _id("rollout_id")
    plan = _maybe("plan_id")
    step = _maybe("step_id")
    lost_workers = _texts()

    class Meta:
        model = Run
        fields = [
            "id",
            "goal",
            "rollout",
            "plan",
            "step",
            "kind",
            "queue",
            "status",
            "revision",
            "attempt",
            "losses",
            "lost_workers",
            "priority",
            "base_commit",
            "commit",
            "error_kind",
            "worker",
            "not_before",
            "queued_at",
            "started_at",
            "deadline_at",
            "ended_at",
        ]
        read_only_fields = fields


class TakeOverOut(serializers.Serializer[Any]):
    """The run went on elsewhere, from its record."""

    at = serializers.DateTimeField()
    from_worker = serializers.CharField(help_text="empty: not known")
    to_worker = serializers.CharField()
    reason = serializers.CharField(help_text="why it was given back or taken away")
    answers = serializers.IntegerField(help_text="model answers that were replayed, not bought again")
    commands = serializers.IntegerField(help_text="commands that were replayed, not run again")
    files = serializers.IntegerField(help_text="file accesses that were replayed")
    checkpoint = serializers.CharField(help_text="the commit that its workspace was restored to")
    repeated = serializers.IntegerField(
        help_text="calls in flight that were made once more; the lost ones count as spent"
    )


class RunDetail(RunSummary):
    take_overs = serializers.SerializerMethodField()
    brief = JSONObject(read_only=True, help_text="what the engine told it: feedback, problem")
    outcome = JSONObject(read_only=True)

    class Meta(RunSummary.Meta):
        fields = [*RunSummary.Meta.fields, "error", "brief", "outcome", "take_overs"]
        read_only_fields = fields

    @extend_schema_field(TakeOverOut(many=True))
    def get_take_overs(self, run: Run) -> Any:
        return TakeOverOut(take_overs_of(run), many=True).data


class CallSummary(serializers.ModelSerializer[Call]):
    run = _id("run_id")
    output = serializers.CharField(source="output_id", allow_null=True, read_only=True, help_text="artifact")

    class Meta:
        model = Call
        fields = [
            "id",
            "run",
            "turn",
            "index",
            "kind",
            "status",
            "provider",
            "model",
            "prompt_tokens",
            "completion_tokens",
            "cached_tokens",
            "reserved_tokens",
            "cost",
            "exit_code",
            "checkpoint",
            "output",
            "started_at",
            "ended_at",
            "duration",
        ]
        read_only_fields = fields


class CallDetail(CallSummary):
    request = AnyJSON(read_only=True, help_text="what was added since the run's previous model call")
    answer = AnyJSON(read_only=True, allow_null=True)

    class Meta(CallSummary.Meta):
        fields = [*CallSummary.Meta.fields, "error", "request", "answer"]
        read_only_fields = fields


class ReviewOut(serializers.ModelSerializer[Review]):
    goal = _id("rollout.goal_id")
    rollout = _id("rollout_id")
    plan = _maybe("plan_id")
    run = _maybe("run_id")
    steps = serializers.ListField(child=serializers.IntegerField(), read_only=True)
    evidence = _texts()
    findings = serializers.ListField(child=AnyJSON(), read_only=True)

    class Meta:
        model = Review
        fields = [
            "id",
            "goal",
            "rollout",
            "plan",
            "run",
            "by",
            "commit",
            "action",
            "steps",
            "reasoning",
            "suggested_changes",
            "confidence",
            "evidence",
            "findings",
            "proven",
            "created_at",
        ]
        read_only_fields = fields

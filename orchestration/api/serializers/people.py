"""What people are asked and what they say, in and out."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from ... import story
from ...models import Approval, Question, Step
from ...services import draft_of
from .fields import Input, JSONObject, Text
from .goals import Forecast, ReasonInput


class DecisionInput(ReasonInput):
    plan_sha256 = Text(max_length=64, help_text="of the plan as you saw it: another one by now is answered with 409")


class PlanInput(Input):
    plan_sha256 = Text(max_length=64, help_text="of the plan that you edited: another one by now is answered with 409")
    plan = JSONObject(help_text="`summary` and `steps`, as the planner answers them: the same contract holds")
    reason = Text(required=False, allow_blank=True, max_length=500)


class Scope(serializers.Serializer[Any]):
    paths = serializers.ListField(child=serializers.CharField(), help_text="globs; `**`: any file")
    network = serializers.BooleanField()
    commands = serializers.ListField(child=serializers.CharField(), help_text="kinds of commands")
    usd = serializers.CharField(allow_null=True, help_text="the forecast; null: not known")


class ApprovalOut(serializers.ModelSerializer[Approval]):
    goal = serializers.UUIDField(source="goal_id", read_only=True)
    rollout = serializers.UUIDField(source="rollout_id", read_only=True)
    plan = serializers.UUIDField(source="plan_id", read_only=True)
    revision = serializers.IntegerField(source="plan.revision", read_only=True)
    asks = serializers.ListField(child=serializers.CharField(), read_only=True, help_text="why a person must look")
    scope = Scope(read_only=True)
    decided_at = serializers.DateTimeField(source="ended_at", allow_null=True, read_only=True)

    class Meta:
        model = Approval
        fields = [
            *("id", "goal", "rollout", "plan", "revision", "plan_sha256", "status", "asks", "scope", "run_only"),
            *("four_eyes", "on_expiry", "expires_at", "by", "reason", "created_at", "decided_at"),
        ]
        read_only_fields = fields


class ApprovalDetail(ApprovalOut):
    forecast = serializers.SerializerMethodField()
    draft = serializers.SerializerMethodField(help_text="the plan, in the form in which an edited one is sent back")

    class Meta(ApprovalOut.Meta):
        fields = [*ApprovalOut.Meta.fields, "forecast", "draft"]
        read_only_fields = fields

    @extend_schema_field(Forecast)
    def get_forecast(self, approval: Approval) -> dict[str, Any]:
        return story.forecast(approval.goal)

    def get_draft(self, approval: Approval) -> dict[str, Any]:
        steps = Step.objects.filter(plan=approval.plan_id).order_by("index")
        return {"summary": approval.plan.summary, "steps": [draft_of(step).model_dump(mode="json") for step in steps]}


class DecisionOut(ApprovalOut):
    first = serializers.SerializerMethodField(help_text="false: it had been decided before, and that stands")
    said = serializers.SerializerMethodField(help_text="what came of it, in a sentence")

    class Meta(ApprovalOut.Meta):
        fields = [*ApprovalOut.Meta.fields, "first", "said"]
        read_only_fields = fields

    def get_first(self, approval: Approval) -> bool:
        return bool(self.context["first"])

    def get_said(self, approval: Approval) -> str:
        return str(self.context["said"])


class AnswerInput(Input):
    answer = Text(max_length=4000, help_text="one of its choices, where it has some")


class QuestionOut(serializers.ModelSerializer[Question]):
    goal = serializers.UUIDField(source="goal_id", read_only=True)
    step = serializers.IntegerField(source="step.index", read_only=True, help_text="its number in the plan")
    run = serializers.UUIDField(source="run_id", read_only=True)
    choices = serializers.ListField(child=serializers.CharField(), read_only=True, help_text="empty: any text")
    answered_at = serializers.DateTimeField(source="ended_at", allow_null=True, read_only=True)

    class Meta:
        model = Question
        fields = [
            *("id", "goal", "step", "run", "text", "choices", "default", "status", "answer", "by"),
            *("expires_at", "created_at", "answered_at"),
        ]
        read_only_fields = fields


class AnsweredOut(QuestionOut):
    first = serializers.SerializerMethodField(help_text="false: it had been answered before, and that stands")
    said = serializers.SerializerMethodField(help_text="what came of it, in a sentence")

    class Meta(QuestionOut.Meta):
        fields = [*QuestionOut.Meta.fields, "first", "said"]
        read_only_fields = fields

    def get_first(self, question: Question) -> bool:
        return bool(self.context["first"])

    def get_said(self, question: Question) -> str:
        return str(self.context["said"])

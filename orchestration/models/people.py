"""What people are asked, and what they said: Approval of a plan, Question of a step, Message to a running goal."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from ..states import ApprovalStatus, QuestionStatus, RunKind
from .constraints import one_of


class Approval(models.Model):
    """A person's decision on one plan, bound to its sha256. The first decision stands; a plan has at most one that waits.

    `asks`: why a person must look, in sentences. `scope`: what the plan may touch, run and cost; a later plan that asks for no more
    asks nobody. `run_only`: nobody has to approve it, the goal was to stop after its plan.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    goal = models.ForeignKey("Goal", on_delete=models.CASCADE, related_name="approvals")
    rollout = models.ForeignKey("Rollout", on_delete=models.CASCADE, related_name="approvals")
    plan = models.ForeignKey("Plan", on_delete=models.CASCADE, related_name="approvals")
    plan_sha256 = models.CharField(max_length=64)
    status = models.CharField(max_length=12, choices=ApprovalStatus, default=ApprovalStatus.WAITING)
    asks = models.JSONField(default=list, blank=True)
    scope = models.JSONField(default=dict, blank=True)
    run_only = models.BooleanField(default=False)
    four_eyes = models.BooleanField(default=False)
    requesters = models.JSONField(default=list, blank=True, help_text="who wanted it: the submitter, and who edited it")
    on_expiry = models.CharField(max_length=10, default="reject")
    expires_at = models.DateTimeField(null=True, blank=True)
    by = models.CharField(max_length=200, blank=True, default="", help_text="who decided")
    reason = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["expires_at"], condition=Q(status="waiting"), name="approval_expiry")]
        constraints = [
            one_of("status", ApprovalStatus, "approval_status_known"),
            models.UniqueConstraint(
                fields=["rollout"], condition=Q(status="waiting"), name="approval_one_waiting_per_rollout"
            ),
        ]

    def __str__(self) -> str:
        return f"approval of plan {self.plan_sha256[:8]}"

    @property
    def team_id(self) -> uuid.UUID:
        return self.goal.team_id


class Question(models.Model):
    """What a step asked a person. Only what depends on the step waits for it; the answer is in the step's next brief."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    goal = models.ForeignKey("Goal", on_delete=models.CASCADE, related_name="questions")
    step = models.ForeignKey("Step", on_delete=models.CASCADE, related_name="questions")
    run = models.OneToOneField("Run", on_delete=models.CASCADE, related_name="question")
    text = models.TextField()
    choices = models.JSONField(default=list, blank=True, help_text="the answer is one of these; empty: any text")
    default = models.TextField(blank=True, default="", help_text="the answer when nobody gave one in time; empty: none")
    status = models.CharField(max_length=12, choices=QuestionStatus, default=QuestionStatus.WAITING)
    answer = models.TextField(blank=True, default="")
    by = models.CharField(max_length=200, blank=True, default="")
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["expires_at"], condition=Q(status="waiting"), name="question_expiry")]
        constraints = [
            one_of("status", QuestionStatus, "question_status_known"),
            models.UniqueConstraint(
                fields=["step"], condition=Q(status="waiting"), name="question_one_waiting_per_step"
            ),
        ]

    def __str__(self) -> str:
        return f"question {str(self.id)[:8]}"

    @property
    def team_id(self) -> uuid.UUID:
        return self.goal.team_id


class Message(models.Model):
    """A person's words to a running goal; `number` counts those of a goal, so that a run knows which it has not been told yet."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    goal = models.ForeignKey("Goal", on_delete=models.CASCADE, related_name="messages")
    number = models.PositiveIntegerField()
    to = models.CharField(
        max_length=10,
        choices=[(kind.value, kind.label) for kind in (RunKind.PLAN, RunKind.STEP, RunKind.REVIEW)],
        help_text="the kind of run that is told: plan, step or review",
    )
    text = models.TextField()
    by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["goal", "number"]
        constraints = [models.UniqueConstraint(fields=["goal", "number"], name="message_number_unique")]

    def __str__(self) -> str:
        return f"message {self.number}"


class Telling(models.Model):
    """Which message a run's model was told, and at which of its calls: a take-over tells it at the same place again."""

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="tellings")
    run = models.ForeignKey("Run", on_delete=models.CASCADE, related_name="told")
    turn = models.PositiveSmallIntegerField()
    place = models.PositiveIntegerField(help_text="how many messages of the conversation came before it")

    class Meta:
        ordering = ["turn", "message__number"]
        constraints = [models.UniqueConstraint(fields=["message", "run"], name="told_once_per_run")]

    def __str__(self) -> str:
        return f"{self.message} at turn {self.turn}"

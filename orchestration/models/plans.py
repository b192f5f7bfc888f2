"""Plan: an immutable revision. Step: one piece of it."""

from __future__ import annotations

import uuid

from django.db import models

from ..states import TERMINAL_STEP, PlanOrigin, StepStatus
from .constraints import one_of


class Plan(models.Model):
    """Revision n of a rollout's plan; `sha256` is over its steps' text, so that a decision about it can be bound to it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    rollout = models.ForeignKey("Rollout", on_delete=models.CASCADE, related_name="plans")
    revision = models.PositiveSmallIntegerField()
    origin = models.CharField(max_length=20, choices=PlanOrigin, default=PlanOrigin.PLANNER)
    summary = models.TextField(blank=True, default="")
    sha256 = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["rollout", "revision"]
        constraints = [
            one_of("origin", PlanOrigin, "plan_origin_known"),
            models.UniqueConstraint(fields=["rollout", "revision"], name="plan_revision_unique"),
        ]

    def __str__(self) -> str:
        return f"plan r{self.revision} ({self.sha256[:8]})"


class Step(models.Model):
    """CompyMac's words for a step, plus `check_command` (proves it) and `writes` (globs it may touch)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    plan = models.ForeignKey(Plan, on_delete=models.CASCADE, related_name="steps")
    rollout = models.ForeignKey("Rollout", on_delete=models.CASCADE, related_name="steps")
    index = models.PositiveSmallIntegerField()
    description = models.TextField()
    expected_outcome = models.TextField(blank=True, default="")
    tools_hint = models.JSONField(default=list, blank=True)
    dependencies = models.JSONField(default=list, blank=True)
    can_parallelize = models.BooleanField(default=False)
    priority = models.PositiveSmallIntegerField(default=5)
    estimated_complexity = models.CharField(max_length=10, default="medium")
    check_command = models.TextField(blank=True, default="")
    writes = models.JSONField(default=list, blank=True)
    guidance = models.TextField(blank=True, default="", help_text="what a review asked to do differently")
    status = models.CharField(max_length=20, choices=StepStatus, default=StepStatus.PENDING)
    reason = models.TextField(blank=True, default="")
    commit = models.CharField(max_length=64, blank=True, default="", help_text="its commit on the rollout's head")
    summary = models.TextField(blank=True, default="")
    carried_from = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="carried_to")
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["plan", "index"]
        constraints = [
            one_of("status", StepStatus, "step_status_known"),
            models.UniqueConstraint(fields=["plan", "index"], name="step_index_unique"),
            models.CheckConstraint(condition=models.Q(priority__range=(0, 10)), name="step_priority_in_range"),
        ]

    def __str__(self) -> str:
        return f"step {self.index}"

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL_STEP

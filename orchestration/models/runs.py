"""Run: one piece of work by workers at a plan, a step or a review; the one mechanism for claim, retry and "what runs now"."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from ..states import LIVE_RUN, TERMINAL_RUN, Queue, RunKind, RunStatus
from .constraints import one_of


class Run(models.Model):
    """`fence` grows with every claim; only its holder may report. `losses` count dead workers, `attempt` recorded outcomes."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    goal = models.ForeignKey("Goal", on_delete=models.CASCADE, related_name="runs")
    rollout = models.ForeignKey("Rollout", on_delete=models.CASCADE, related_name="runs")
    plan = models.ForeignKey("Plan", null=True, blank=True, on_delete=models.CASCADE, related_name="runs")
    step = models.ForeignKey("Step", null=True, blank=True, on_delete=models.CASCADE, related_name="runs")
    kind = models.CharField(max_length=10, choices=RunKind)
    queue = models.CharField(max_length=20, choices=Queue)
    status = models.CharField(max_length=20, choices=RunStatus, default=RunStatus.QUEUED)
    revision = models.PositiveSmallIntegerField(default=1, help_text="of the plan it makes, works on or reviews")
    attempt = models.PositiveSmallIntegerField(default=1)
    losses = models.PositiveSmallIntegerField(default=0)
    lost_workers = models.JSONField(default=list, blank=True)
    fence = models.PositiveIntegerField(default=0)
    priority = models.PositiveSmallIntegerField(default=5)
    brief = models.JSONField(default=dict, blank=True, help_text="the engine's words: feedback, problem")
    base_commit = models.CharField(max_length=64, blank=True, default="", help_text="head at its claim")
    waiting_for = models.CharField(
        max_length=200, blank=True, default="", help_text="whose limits hold its next model call back"
    )
    waiting_until = models.DateTimeField(null=True, blank=True, help_text="as far as that is known")

    not_before = models.DateTimeField(db_default=Now())
    queued_at = models.DateTimeField(db_default=Now())
    enqueued_at = models.DateTimeField(null=True, blank=True, help_text="when a worker was last woken for it")
    started_at = models.DateTimeField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    deadline_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    worker = models.CharField(max_length=120, blank=True, default="")
    sandbox_gone_at = models.DateTimeField(
        null=True, blank=True, help_text="when its worker had closed the sandboxes of this claim, and said so"
    )

    error_kind = models.CharField(max_length=40, blank=True, default="")
    error = models.TextField(blank=True, default="")
    outcome = models.JSONField(default=dict, blank=True)
    commit = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        ordering = ["queued_at"]
        indexes = [
            models.Index(fields=["queue", "-priority", "queued_at"], condition=Q(status="queued"), name="run_pick"),
            models.Index(fields=["lease_until"], condition=Q(status="running"), name="run_lease"),
            models.Index(fields=["worker"], condition=Q(status="running"), name="run_worker"),
        ]
        constraints = [
            one_of("status", RunStatus, "run_status_known"),
            one_of("kind", RunKind, "run_kind_known"),
            one_of("queue", Queue, "run_queue_known"),
            models.UniqueConstraint(
                fields=["step"], condition=Q(status__in=sorted(LIVE_RUN)), name="run_one_live_per_step"
            ),
            models.UniqueConstraint(
                fields=["rollout", "kind"],
                condition=Q(status__in=sorted(LIVE_RUN), kind__in=["plan", "review", "exam", "judge"]),
                name="run_one_live_plan_and_review",
            ),
            models.CheckConstraint(
                condition=Q(kind="step", step__isnull=False)
                | Q(kind__in=["plan", "review", "exam", "judge"], step__isnull=True),
                name="run_step_iff_kind_step",
            ),
            models.CheckConstraint(
                condition=~Q(status="running") | Q(lease_until__isnull=False), name="run_running_has_a_lease"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} run {str(self.id)[:8]}"

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL_RUN

"""RecurringGoal: a goal that comes back by the calendar. Occurrence: one due time of it, and what became of it."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models

from ..states import MissedPolicy, OccurrenceOutcome, OverlapPolicy, Strategy
from .constraints import one_of


class RecurringGoal(models.Model):
    """`cron` (five fields) is meant in `zone`; `last_due_at` is the newest due time that was dealt with."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    team = models.ForeignKey("Team", on_delete=models.PROTECT, related_name="recurring_goals")
    name = models.CharField(max_length=120)
    cron = models.CharField(max_length=120, help_text="minute hour day-of-month month day-of-week: 30 2 * * *")
    zone = models.CharField(max_length=60, default="UTC", help_text="an IANA time zone: Europe/Berlin")
    overlap = models.CharField(max_length=10, choices=OverlapPolicy, default=OverlapPolicy.SKIP)
    missed = models.CharField(max_length=10, choices=MissedPolicy, default=MissedPolicy.ONCE)

    text = models.TextField()
    context = models.JSONField(default=dict, blank=True)
    repository = models.ForeignKey(
        "Repository", null=True, blank=True, on_delete=models.PROTECT, related_name="recurring_goals"
    )
    base_ref = models.CharField(max_length=250, blank=True, default="")
    checks = models.JSONField(default=list, blank=True)
    allow_check_edits = models.BooleanField(default=False)
    limits = models.JSONField(default=dict, blank=True, help_text="calls, tokens, commands, seconds: lower ones only")
    approval = models.JSONField(default=dict, blank=True, help_text="when a person must approve its plans")
    review = models.JSONField(default=dict, blank=True, help_text="how its goals are judged: when, by whom, ask below")
    role_models = models.JSONField(default=dict, blank=True, help_text="by role the models that work on its goals")
    priority = models.PositiveSmallIntegerField(default=5, help_text="0 to 10, of its goals")
    rollouts_wanted = models.PositiveSmallIntegerField(default=1)
    strategy = models.CharField(max_length=20, choices=Strategy, default=Strategy.EARLY_TERMINATION)

    diversity = models.JSONField(default=list, blank=True)
    stagger_seconds = models.PositiveIntegerField(null=True, blank=True)

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="recurring_goals"
    )
    paused_at = models.DateTimeField(null=True, blank=True)
    paused_by = models.CharField(max_length=200, blank=True, default="")
    pause_reason = models.TextField(blank=True, default="")
    counted_from = models.DateTimeField(
        help_text="no due time before it: its creation, or the last change of its times"
    )
    last_due_at = models.DateTimeField(null=True, blank=True)
    trouble = models.TextField(blank=True, default="", help_text="why its last due time could not be submitted")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "created_at"]
        constraints = [
            one_of("overlap", OverlapPolicy, "recurring_overlap_known"),
            one_of("missed", MissedPolicy, "recurring_missed_known"),
            one_of("strategy", Strategy, "recurring_strategy_known"),
            models.CheckConstraint(
                condition=models.Q(rollouts_wanted__range=(1, 16)), name="recurring_rollouts_in_range"
            ),
            models.CheckConstraint(condition=models.Q(priority__range=(0, 10)), name="recurring_priority_in_range"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_paused(self) -> bool:
        return self.paused_at is not None


class Occurrence(models.Model):
    """At most one row a due time, so two beats are harmless. `goal` null: it was skipped, `reason` says why; or it waits (queued)."""

    schedule = models.ForeignKey(RecurringGoal, on_delete=models.CASCADE, related_name="occurrences")
    due_at = models.DateTimeField()
    outcome = models.CharField(max_length=12, choices=OccurrenceOutcome)
    reason = models.TextField(blank=True, default="")
    goal = models.OneToOneField("Goal", null=True, blank=True, on_delete=models.PROTECT, related_name="occurrence")
    by = models.CharField(max_length=200, default="beat", help_text="beat, or who ran it by hand")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-due_at"]
        constraints = [
            models.UniqueConstraint(fields=["schedule", "due_at"], name="occurrence_due_once"),
            one_of("outcome", OccurrenceOutcome, "occurrence_outcome_known"),
        ]

    def __str__(self) -> str:
        return f"{self.due_at:%Y-%m-%d %H:%M} {self.outcome}"

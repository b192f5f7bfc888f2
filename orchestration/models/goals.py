"""Goal: what somebody wants, as a snapshot. Rollout: one whole attempt at it."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models

from ..states import (
    TERMINAL_GOAL,
    TERMINAL_ROLLOUT,
    GoalStatus,
    ReviewedBy,
    ReviewWhen,
    RolloutStatus,
    RunKind,
    Strategy,
)
from .constraints import one_of


class Goal(models.Model):
    """Later edits of anything it was made from do not change it. Its status follows from its rollouts (`flow.decide_goal`)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    team = models.ForeignKey("Team", on_delete=models.PROTECT, related_name="goals")
    text = models.TextField()
    context = models.JSONField(default=dict, blank=True)
    repository = models.ForeignKey("Repository", null=True, blank=True, on_delete=models.PROTECT, related_name="goals")
    base_ref = models.CharField(max_length=250, blank=True, default="", help_text="branch, tag or commit; empty: HEAD")
    base_sha = models.CharField(max_length=64, blank=True, default="", help_text="resolved by the first planning run")
    base_bundle = models.ForeignKey("Artifact", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    checks = models.JSONField(default=list, blank=True, help_text="commands that prove the goal, given by a person")
    hidden_checks = models.JSONField(
        default=list, blank=True, help_text="the same, told to the reviewer alone: no planner and no executor sees them"
    )
    review_when = models.CharField(max_length=12, choices=ReviewWhen, default=ReviewWhen.FINAL)
    reviewed_by = models.CharField(max_length=16, choices=ReviewedBy, default=ReviewedBy.LLM)
    ask_below = models.FloatField(
        default=0, help_text="a verdict with less confidence (0 to 1) waits for a person; 0: none does"
    )
    allow_check_edits = models.BooleanField(default=False, help_text="check files are not restored from the base")

    status = models.CharField(max_length=20, choices=GoalStatus, default=GoalStatus.QUEUED, db_index=True)
    reason = models.TextField(blank=True, default="", help_text="why it is paused, or why it ended as it did")
    paused_cap = models.CharField(max_length=20, blank=True, default="", help_text="the limit at which it paused")
    finishes_running = models.BooleanField(
        default=False, help_text="paused: its live runs go on to their own end, and nothing new begins"
    )
    stuck = models.TextField(blank=True, default="", help_text="set when the engine itself failed on this goal")
    verified = models.BooleanField(default=False)
    priority = models.PositiveSmallIntegerField(default=5, help_text="0 to 10: higher ones are worked on first")
    rollouts_wanted = models.PositiveSmallIntegerField(default=1)
    strategy = models.CharField(max_length=20, choices=Strategy, default=Strategy.EARLY_TERMINATION)
    diversity = models.JSONField(
        default=list, blank=True, help_text="how its rollouts differ, as declared: hint, temperature, model"
    )
    stagger_seconds = models.PositiveIntegerField(
        null=True, blank=True, help_text="each rollout starts so long after the one before, or once that has failed"
    )
    selected = models.ForeignKey("Rollout", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    selected_by = models.CharField(
        max_length=200, blank=True, default="", help_text="engine, or who picked another one"
    )
    selected_reason = models.TextField(blank=True, default="", help_text="why this rollout and none of the others")
    model = models.CharField(max_length=200, blank=True, default="", help_text="the language model that worked on it")
    role_models = models.JSONField(
        default=dict,
        blank=True,
        help_text="by role the models that work on it, as provider/model, first choice first; empty: the workers' own",
    )
    only = models.CharField(
        max_length=10, choices=RunKind, blank=True, default="", help_text="one piece of work, called by hand as a task"
    )
    approval = models.JSONField(
        default=dict, blank=True, help_text="when a person must approve its plans (`policies.ApprovalPolicy`)"
    )
    plan_only = models.BooleanField(default=False, help_text="stops after its plan, until somebody runs it")
    unverified_by = models.CharField(
        max_length=200, blank=True, default="", help_text="who let it succeed against the review or the checks"
    )
    task_id = models.CharField(
        max_length=64, null=True, blank=True, unique=True, help_text="the Celery task that asked for it by hand"
    )
    retry_of = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="retries")
    follow_up_of = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="follow_ups")
    submitted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="goals"
    )
    origin = models.CharField(max_length=40, default="shell")

    forecast = models.JSONField(
        default=dict,
        blank=True,
        help_text="what it would probably cost, as known at its first plan; `error`: how that came out",
    )
    in_line_since = models.DateTimeField(
        null=True, blank=True, help_text="it waits for room under its team's caps of running goals; null: it does not"
    )

    event_seq = models.PositiveIntegerField(default=0)
    version = models.PositiveIntegerField(
        default=0, help_text="raised by each transaction that changes anything of what is decided on"
    )
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)
    started_at = models.DateTimeField(null=True, blank=True)
    deadline_at = models.DateTimeField(null=True, blank=True, help_text="the cap on its hours; a pause, not an end")
    cancelled_at = models.DateTimeField(null=True, blank=True, help_text="when cancel was asked; no intent is later")
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            models.Index(
                fields=["team", "in_line_since"],
                condition=models.Q(in_line_since__isnull=False),
                name="goal_in_line",
            )
        ]
        constraints = [
            one_of("status", GoalStatus, "goal_status_known"),
            one_of("strategy", Strategy, "goal_strategy_known"),
            one_of("review_when", ReviewWhen, "goal_review_when_known"),
            one_of("reviewed_by", ReviewedBy, "goal_reviewed_by_known"),
            models.CheckConstraint(condition=models.Q(ask_below__range=(0, 1)), name="goal_ask_below_in_range"),
            models.CheckConstraint(condition=models.Q(rollouts_wanted__range=(1, 16)), name="goal_rollouts_in_range"),
            models.CheckConstraint(condition=models.Q(priority__range=(0, 10)), name="goal_priority_in_range"),
        ]

    def __str__(self) -> str:
        return f"goal {self.short_id}"

    @property
    def short_id(self) -> str:
        return str(self.id)[:8]

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL_GOAL

    @property
    def is_gated(self) -> bool:
        """No new work may start: it is paused, being cancelled, or over."""
        return self.status in {GoalStatus.PAUSED, GoalStatus.CANCELLING} or self.is_terminal


class Rollout(models.Model):
    """Owns the phase, the plan revisions and one line of commits, `head`."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    goal = models.ForeignKey(Goal, on_delete=models.CASCADE, related_name="rollouts")
    number = models.PositiveSmallIntegerField(default=1)
    status = models.CharField(max_length=20, choices=RolloutStatus, default=RolloutStatus.QUEUED, db_index=True)
    reason = models.TextField(blank=True, default="")
    hint = models.CharField(max_length=20, blank=True, default="", help_text="direct, thorough or creative")
    diversity = models.TextField(blank=True, default="", help_text="what this attempt is told to do differently")
    temperature = models.FloatField(null=True, blank=True, help_text="of its planner and executors; null: the worker's")
    model = models.CharField(max_length=200, blank=True, default="", help_text="the same; empty: the worker's")
    head = models.CharField(max_length=64, blank=True, default="")
    head_bundle = models.ForeignKey("Artifact", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    replans = models.PositiveSmallIntegerField(default=0)
    review_rounds = models.PositiveSmallIntegerField(default=0, help_text="how often a verdict sent steps back")
    verified = models.BooleanField(default=False)
    changed_lines = models.PositiveIntegerField(null=True, blank=True)
    score = models.FloatField(null=True, blank=True, help_text="of a candidate that ended, to compare it with others")
    tokens = models.PositiveBigIntegerField(null=True, blank=True, help_text="the same: what its model calls used")
    votes = models.PositiveSmallIntegerField(default=0, help_text="of a judge, where candidates were equal")
    patch = models.ForeignKey("Artifact", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    branch = models.CharField(
        max_length=250, blank=True, default="", help_text="the result branch, once it was delivered"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["goal", "number"]
        constraints = [
            one_of("status", RolloutStatus, "rollout_status_known"),
            models.UniqueConstraint(fields=["goal", "number"], name="rollout_number_unique"),
        ]

    def __str__(self) -> str:
        return f"rollout {self.number} of goal {str(self.goal_id)[:8]}"

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL_ROLLOUT

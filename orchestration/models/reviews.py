"""Review: a verdict on a plan revision at a commit, by an agent, the system or a person."""

from __future__ import annotations

import uuid

from django.db import models


class Review(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    rollout = models.ForeignKey("Rollout", on_delete=models.CASCADE, related_name="reviews")
    plan = models.ForeignKey("Plan", null=True, blank=True, on_delete=models.CASCADE, related_name="reviews")
    run = models.ForeignKey("Run", null=True, blank=True, on_delete=models.CASCADE, related_name="reviews")
    by = models.CharField(max_length=200, default="agent")
    commit = models.CharField(max_length=64, blank=True, default="")
    action = models.CharField(max_length=24)
    steps = models.JSONField(default=list, blank=True)
    reasoning = models.TextField(blank=True, default="")
    suggested_changes = models.TextField(blank=True, default="")
    confidence = models.FloatField(default=0.5)
    evidence = models.JSONField(default=list, blank=True)
    findings = models.JSONField(default=list, blank=True)
    proven = models.BooleanField(default=False, help_text="a person's or discovered check passed on this very commit")
    asks = models.TextField(blank=True, default="", help_text="why a person decides before anything follows from it")
    expires_at = models.DateTimeField(null=True, blank=True, help_text="when nobody's decision is a decision too")
    acted = models.BooleanField(default=False, help_text="the engine has drawn its consequence")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["created_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(
                    action__in=[
                        "continue",
                        "retry_same",
                        "retry_with_changes",
                        "gather_info",
                        "replan",
                        "complete",
                        "stop",
                    ]
                ),
                name="review_action_known",
            ),
            models.CheckConstraint(condition=models.Q(confidence__range=(0, 1)), name="review_confidence_in_range"),
        ]

    def __str__(self) -> str:
        return f"{self.action} ({self.confidence:.0%})"

"""Event: a change of state or a person's act, numbered without gaps within its goal; never a line of output, never a call."""

from __future__ import annotations

from django.db import models


class Event(models.Model):
    goal = models.ForeignKey("Goal", on_delete=models.CASCADE, related_name="events")
    seq = models.PositiveIntegerField()
    kind = models.CharField(max_length=40, help_text="noun.what: run.status, plan.recorded, journal.diverged")
    subject = models.CharField(
        max_length=80, blank=True, default="", help_text="what changed: 'step 2', 'run 1a2b3c4d'"
    )
    old = models.CharField(max_length=20, blank=True, default="")
    new = models.CharField(max_length=20, blank=True, default="")
    by = models.CharField(max_length=200, default="engine")
    reason = models.TextField(blank=True, default="")
    data = models.JSONField(default=dict, blank=True)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["goal", "seq"]
        constraints = [models.UniqueConstraint(fields=["goal", "seq"], name="event_seq_unique")]

    def __str__(self) -> str:
        return f"{self.seq} {self.kind} {self.subject} {self.old}→{self.new}"

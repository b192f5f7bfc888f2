"""Check: one run of one check command on one commit; the proof card is made of these."""

from __future__ import annotations

from django.db import models

from ..states import CheckOrigin, CheckPhase
from .constraints import one_of


class Check(models.Model):
    goal = models.ForeignKey("Goal", on_delete=models.CASCADE, related_name="check_results")
    rollout = models.ForeignKey(
        "Rollout", null=True, blank=True, on_delete=models.CASCADE, related_name="check_results"
    )
    run = models.ForeignKey("Run", null=True, blank=True, on_delete=models.CASCADE, related_name="check_results")
    phase = models.CharField(max_length=10, choices=CheckPhase)
    origin = models.CharField(max_length=12, choices=CheckOrigin)
    command = models.TextField()
    commit = models.CharField(max_length=64)
    passed = models.BooleanField()
    exit_code = models.IntegerField(null=True, blank=True)
    timed_out = models.BooleanField(default=False)
    missing = models.CharField(max_length=200, blank=True, default="", help_text="the program that the sandbox lacks")
    output = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [
            one_of("phase", CheckPhase, "check_phase_known"),
            one_of("origin", CheckOrigin, "check_origin_known"),
        ]

    def __str__(self) -> str:
        return f"{'passed' if self.passed else 'failed'}: {self.command[:60]}"

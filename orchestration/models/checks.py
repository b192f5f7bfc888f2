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
    flaky = models.BooleanField(
        default=False, help_text="run twice on the same tree, once it passed and once it failed"
    )
    counts = models.JSONField(null=True, blank=True, help_text="runner, passed, failed, skipped, failures: as printed")
    environment = models.CharField(max_length=64, blank=True, default="", help_text="a hash of what it ran in")
    output = models.TextField(blank=True, default="", help_text="the end of it")
    log = models.ForeignKey(
        "Artifact", null=True, blank=True, on_delete=models.SET_NULL, related_name="+", help_text="the whole output"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [
            one_of("phase", CheckPhase, "check_phase_known"),
            one_of("origin", CheckOrigin, "check_origin_known"),
        ]

    def __str__(self) -> str:
        return f"{'passed' if self.passed else 'failed'}: {self.command[:60]}"

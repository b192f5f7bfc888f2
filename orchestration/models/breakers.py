"""Breaker: whether what runs depend on is there, as all workers found out together."""

from __future__ import annotations

from django.db import models

from ..states import BreakerStatus
from .constraints import one_of


class Breaker(models.Model):
    """One row a dependency, made at its first failure: while all is well there is nothing to read and nothing to write."""

    name = models.CharField(primary_key=True, max_length=300, help_text="model M at URL, or sandbox service ADDRESSES")
    status = models.CharField(max_length=10, choices=BreakerStatus, default=BreakerStatus.CLOSED)
    failures = models.PositiveIntegerField(default=0, help_text="in a row")
    probes = models.PositiveIntegerField(default=0, help_text="that failed since it opened")
    failed_at = models.DateTimeField(null=True, blank=True, help_text="the last time")
    opened_at = models.DateTimeField(null=True, blank=True)
    probe_at = models.DateTimeField(null=True, blank=True, help_text="when a run is let through")
    probe = models.ForeignKey(
        "Run",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="the run that was let through",
    )
    probe_fence = models.PositiveIntegerField(
        default=0, help_text="its claim: another one's may be by a worker with another model"
    )
    last_probe_goal = models.UUIDField(
        null=True, blank=True, help_text="another goal's run tries next, where there is one"
    )
    last_error = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["name"]
        constraints = [one_of("status", BreakerStatus, "breaker_status_known")]

    def __str__(self) -> str:
        return self.name

"""What identifies this installation, who works for it now, and the leases that its housekeepers take turns by."""

from __future__ import annotations

import uuid

from django.db import models


class Installation(models.Model):
    """Exactly one row; its id prefixes the broker's keys, so that two installations cannot mix their queues."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    only = models.BooleanField(default=True, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    beat_ticked_at = models.DateTimeField(
        null=True, blank=True, help_text="when celery-beat last looked at the schedules"
    )

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(only=True), name="installation_only_one")]

    def __str__(self) -> str:
        return str(self.id)


class Worker(models.Model):
    """A worker process, as it last said of itself."""

    id = models.CharField(primary_key=True, max_length=120, help_text="host:pid:start")
    queues = models.JSONField(default=list)
    threads = models.PositiveSmallIntegerField(default=1)
    needs = models.JSONField(default=list, blank=True, help_text="its dependencies, as breakers are named")
    sandbox = models.CharField(max_length=60, blank=True, default="")
    model = models.CharField(max_length=200, blank=True, default="")
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.id


class Lease(models.Model):
    """One at a time: whoever holds the row until `until` does the job that it names."""

    name = models.CharField(primary_key=True, max_length=60)
    holder = models.CharField(max_length=120)
    until = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} by {self.holder}"

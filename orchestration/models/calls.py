"""Call: the journal of a run, one row for each model call, command and file access, intent first, answer later."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from ..states import CallKind, CallStatus
from .constraints import one_of


class Call(models.Model):
    """Position in the run: `turn` counts model calls, `index` what was done after one (0 is the model call itself).

    `request` holds only what was added since the run's previous model call; `cost` null means that the price is unknown;
    `price` is what it was reckoned by (`pricing.Price.told`), also when prices have changed since.
    """

    run = models.ForeignKey("Run", on_delete=models.CASCADE, related_name="calls")
    turn = models.PositiveSmallIntegerField()
    index = models.PositiveSmallIntegerField()
    kind = models.CharField(max_length=10, choices=CallKind)
    status = models.CharField(max_length=12, choices=CallStatus, default=CallStatus.INTENT)
    fence = models.PositiveIntegerField()
    request_hash = models.CharField(max_length=64)
    request = models.JSONField(default=dict)
    answer = models.JSONField(null=True, blank=True)
    error = models.TextField(blank=True, default="")
    model = models.CharField(max_length=200, blank=True, default="")
    provider = models.CharField(
        max_length=40, blank=True, default="", help_text="whose model; empty: of the worker's environment"
    )
    prompt_tokens = models.PositiveIntegerField(default=0)
    completion_tokens = models.PositiveIntegerField(default=0)
    cached_tokens = models.PositiveIntegerField(default=0)
    reserved_tokens = models.PositiveIntegerField(default=0)
    reserved_micro_usd = models.PositiveBigIntegerField(null=True, blank=True, help_text="1e-6 USD; empty: unknown")
    price = models.JSONField(null=True, blank=True, help_text="USD per million tokens, and who says so")
    cost = models.DecimalField(max_digits=14, decimal_places=6, null=True, blank=True)
    exit_code = models.IntegerField(null=True, blank=True)
    checkpoint = models.CharField(max_length=64, blank=True, default="", help_text="commit of the tree after it")
    checkpoint_bundle = models.ForeignKey(
        "Artifact", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    output = models.ForeignKey("Artifact", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    started_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True, blank=True)
    duration = models.FloatField(null=True, blank=True, help_text="seconds")

    class Meta:
        ordering = ["run", "turn", "index", "id"]
        constraints = [
            one_of("kind", CallKind, "call_kind_known"),
            one_of("status", CallStatus, "call_status_known"),
            models.UniqueConstraint(
                fields=["run", "turn", "index"],
                condition=Q(status__in=["intent", "done"]),
                name="call_position_unique",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.turn}.{self.index}"

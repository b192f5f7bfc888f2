"""ModelPrice: what a model costs, where the public tables do not know it or our contract says otherwise."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone


class ModelPrice(models.Model):
    """Never changed: a new row counts from its `effective_from` on, and what was paid before keeps its price."""

    team = models.ForeignKey(
        "Team", null=True, blank=True, on_delete=models.CASCADE, related_name="prices", help_text="empty: for all teams"
    )
    provider = models.CharField(
        max_length=200, default="*", help_text="glob of the server's name, such as api.venice.ai; *: any"
    )
    model = models.CharField(max_length=200, help_text="glob of the model's name, such as qwen3-*")
    input_usd = models.DecimalField(max_digits=14, decimal_places=6, help_text="USD per million tokens")
    cached_input_usd = models.DecimalField(
        max_digits=14, decimal_places=6, help_text="the same for the part of a prompt that the provider had kept"
    )
    output_usd = models.DecimalField(max_digits=14, decimal_places=6, help_text="the same for answers")
    effective_from = models.DateTimeField(default=timezone.now)
    by = models.CharField(max_length=200, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["provider", "model", "-effective_from", "-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(input_usd__gte=0, cached_input_usd__gte=0, output_usd__gte=0),
                name="model_price_not_below_0",
            )
        ]

    def __str__(self) -> str:
        return f"{self.model} at {self.provider}"

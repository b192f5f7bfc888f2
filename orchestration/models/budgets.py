"""Budget: one narrow row a goal, touched last in a transaction and only by conditional UPDATEs."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q


class Budget(models.Model):
    """Calls and commands are counted when they are begun; tokens and cost are reserved before and settled after.

    `open` is the gate: when it is false no intent can be recorded. `overrun_tokens`: what a provider billed beyond what was reserved.
    Money is counted in whole micro-USD (1e-6 USD).
    """

    goal = models.OneToOneField("Goal", primary_key=True, on_delete=models.CASCADE, related_name="budget")
    open = models.BooleanField(default=True)
    max_calls = models.PositiveIntegerField()
    max_tokens = models.PositiveBigIntegerField()
    max_commands = models.PositiveIntegerField()
    max_seconds = models.PositiveIntegerField()
    calls = models.PositiveIntegerField(default=0)
    commands = models.PositiveIntegerField(default=0)
    reserved_tokens = models.PositiveBigIntegerField(default=0)
    spent_tokens = models.PositiveBigIntegerField(default=0)
    overrun_tokens = models.PositiveBigIntegerField(default=0)
    max_steps = models.PositiveIntegerField(null=True, blank=True, help_text="empty: no limit")
    steps = models.PositiveIntegerField(default=0, help_text="attempts at steps, counted at their first model call")
    max_micro_usd = models.PositiveBigIntegerField(null=True, blank=True, help_text="1e-6 USD; empty: no limit")
    reserved_micro_usd = models.PositiveBigIntegerField(default=0, help_text="1e-6 USD")
    spent_micro_usd = models.PositiveBigIntegerField(default=0, help_text="1e-6 USD, of calls whose price is known")
    overrun_micro_usd = models.PositiveBigIntegerField(default=0, help_text="1e-6 USD, billed beyond what was reserved")
    unpriced_calls = models.PositiveIntegerField(default=0, help_text="model calls whose price nobody knows")
    tokens_limited = models.BooleanField(
        default=False, help_text="somebody gave the limit of tokens: calls at an unknown price may be made"
    )
    allotted_micro_usd = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="1e-6 USD, drawn from its team's month so far; empty: that has no limit"
    )
    allotted_before_micro_usd = models.PositiveBigIntegerField(
        default=0, help_text="1e-6 USD: the part of that which is not of `allotted_from`, but was spent before"
    )
    wants_micro_usd = models.PositiveBigIntegerField(
        default=0, help_text="1e-6 USD that its next call needs of its team's month, where that had too little"
    )
    allotted_from = models.ForeignKey("TeamMonth", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    warned = models.JSONField(default=list, blank=True, help_text="the limits of which four fifths were used")
    messages = models.PositiveIntegerField(
        default=0, help_text="of people to the goal: no model call begins without having seen them"
    )

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(calls__lte=F("max_calls")), name="budget_calls_within_cap"),
            models.CheckConstraint(condition=Q(commands__lte=F("max_commands")), name="budget_commands_within_cap"),
        ]
        indexes = [
            models.Index(
                fields=["allotted_from"], condition=Q(allotted_from__isnull=False), name="budget_holds_allotment"
            )
        ]

    def __str__(self) -> str:
        return f"{self.calls}/{self.max_calls} calls, {self.spent_tokens}/{self.max_tokens} tokens"

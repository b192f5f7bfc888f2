"""Budget: one narrow row a goal, touched last in a transaction and only by conditional UPDATEs."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q


class Budget(models.Model):
    """Calls and commands are counted when they are begun; tokens and cost are reserved before and settled after.

    `open` is the gate: when it is false no intent can be recorded. `overrun_tokens`: what a provider billed beyond what was reserved.
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
    messages = models.PositiveIntegerField(
        default=0, help_text="of people to the goal: no model call begins without having seen them"
    )

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(calls__lte=F("max_calls")), name="budget_calls_within_cap"),
            models.CheckConstraint(condition=Q(commands__lte=F("max_commands")), name="budget_commands_within_cap"),
        ]

    def __str__(self) -> str:
        return f"{self.calls}/{self.max_calls} calls, {self.spent_tokens}/{self.max_tokens} tokens"

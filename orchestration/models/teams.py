"""Team: whose the goals, repositories and schedules are. Membership: who is in it, as what. TeamEvent: who changed that.

TeamMonth: what its goals spend.
"""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models

from ..roles import Role
from .constraints import one_of


class Team(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=60, unique=True)
    four_eyes = models.BooleanField(default=False, help_text="who wanted a plan may not approve it")
    role_models = models.JSONField(
        default=dict, blank=True, help_text="by role the models of goals that name none themselves"
    )
    month_max_micro_usd = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="1e-6 USD that its goals may spend in a month; empty: no limit"
    )
    caps = models.JSONField(
        default=dict, blank=True, help_text="its own caps of running goals: team, user, repository; 0: none"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """One role a person in each team. A person cannot be deleted while they have one: first they leave, which is recorded."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["team", "user"]
        constraints = [
            models.UniqueConstraint(fields=["team", "user"], name="membership_unique"),
            one_of("role", Role, "membership_role_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.team}"


class TeamMonth(models.Model):
    """What the goals of a team have drawn of a month's money (UTC). Goals draw allotments, and give back what is left."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="months")
    month = models.DateField(help_text="its first day")
    drawn_micro_usd = models.PositiveBigIntegerField(default=0, help_text="1e-6 USD")
    warned_at = models.DateTimeField(null=True, blank=True, help_text="when four fifths were drawn")

    class Meta:
        ordering = ["-month"]
        constraints = [models.UniqueConstraint(fields=["team", "month"], name="team_month_unique")]

    def __str__(self) -> str:
        return f"{self.month:%Y-%m} of {self.team}"


class TeamEvent(models.Model):
    """A change of a team: written in the transaction that made it, never changed, kept as long as the team."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="events")
    kind = models.CharField(max_length=40, help_text="team.created, member.added, member.role, member.removed")
    subject = models.CharField(max_length=150, blank=True, default="", help_text="the user's name")
    old = models.CharField(max_length=20, blank=True, default="")
    new = models.CharField(max_length=20, blank=True, default="")
    by = models.CharField(max_length=200)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject} {self.old}→{self.new}"

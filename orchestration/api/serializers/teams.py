"""Teams, their members, and what changed about them."""

from __future__ import annotations

from rest_framework import serializers

from ...models import Membership, Team, TeamEvent
from ...roles import Role
from .fields import Input, Text
from .goals import TEAM


class TeamOut(serializers.ModelSerializer[Team]):
    role = serializers.ChoiceField(Role.choices, read_only=True, help_text="yours")

    class Meta:
        model = Team
        fields = ["id", "name", "role", "created_at"]
        read_only_fields = fields


class MemberOut(serializers.ModelSerializer[Membership]):
    team = serializers.CharField(source="team.name", read_only=True)
    user = serializers.CharField(source="user.username", read_only=True)

    class Meta:
        model = Membership
        fields = ["id", "team", "user", "role", "created_at"]
        read_only_fields = fields


class RoleInput(Input):
    role = serializers.ChoiceField(Role.choices)


class MemberInput(RoleInput):
    team = Text(required=False, max_length=60, help_text=TEAM)
    user = Text(max_length=150, help_text="the name of a user that there is (manage.py invite makes one)")


class TeamEventOut(serializers.ModelSerializer[TeamEvent]):
    class Meta:
        model = TeamEvent
        fields = ["kind", "subject", "old", "new", "by", "at"]
        read_only_fields = fields

"""Teams, their members, and what changed about them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from ...models import Membership, Team, TeamEvent
from ...roles import Role
from ...selectors.line import caps_of
from .fields import Input, Text, Usd
from .goals import TEAM


class TeamOut(serializers.ModelSerializer[Team]):
    role = serializers.ChoiceField(Role.choices, read_only=True, help_text="yours")
    caps = serializers.SerializerMethodField(
        help_text="of goals that run at once: of the team, of each user, on each repository; 0: any number"
    )

    class Meta:
        model = Team
        fields = ["id", "name", "role", "caps", "created_at"]
        read_only_fields = fields

    @extend_schema_field(serializers.DictField(child=serializers.IntegerField()))
    def get_caps(self, team: Team) -> dict[str, int]:
        return asdict(caps_of(team))


class MonthLimit(Input):
    limit_usd = Usd(allow_null=True, help_text="of each calendar month (UTC); null: no limit")


class MonthOut(serializers.Serializer[Any]):
    """Amounts are USD as text with six decimals; null where there is no limit: then nobody counts."""

    team = serializers.CharField()
    month = serializers.CharField(help_text="such as 2026-11")
    limit_usd = serializers.CharField(allow_null=True)
    spent_usd = serializers.CharField(allow_null=True)
    held_usd = serializers.CharField(allow_null=True, help_text="drawn by open goals, and not spent yet")
    left_usd = serializers.CharField(allow_null=True)
    near_limit = serializers.BooleanField(help_text="four fifths of it are drawn")


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

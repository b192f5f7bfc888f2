"""What things cost, out. Amounts are USD as text with six decimals; null: nothing of it has a known price."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from ...costs import BY

KNOWN = "of the calls whose price is known; null: of none"


class CostRowOut(serializers.Serializer[Any]):
    key = serializers.CharField()
    name = serializers.CharField()
    calls = serializers.IntegerField()
    prompt_tokens = serializers.IntegerField()
    cached_tokens = serializers.IntegerField()
    completion_tokens = serializers.IntegerField()
    usd = serializers.CharField(allow_null=True, help_text=KNOWN)
    unpriced_calls = serializers.IntegerField(help_text="calls at a price that nobody knows: not in `usd`")


class WorthOut(serializers.Serializer[Any]):
    name = serializers.CharField()
    verified = serializers.IntegerField(help_text="goals that succeeded, proven by checks")
    goals = serializers.IntegerField(help_text="goals that ended")
    usd = serializers.CharField(allow_null=True, help_text=KNOWN)
    unpriced_calls = serializers.IntegerField()
    usd_per_verified_success = serializers.CharField(allow_null=True, help_text="null: there is none, or no price")


class VerifiedSuccessOut(WorthOut):
    by_model = WorthOut(many=True)
    by_role = WorthOut(many=True)


@extend_schema_serializer(many=False)
class CostsOut(serializers.Serializer[Any]):
    by = serializers.ChoiceField(list(BY))
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    verified_success = VerifiedSuccessOut(help_text="of the goals that ended in this time, with all that they cost")
    total = CostRowOut(help_text="of the calls of this time")
    more = serializers.BooleanField(help_text="there are more results than these, which are the dearest")
    results = CostRowOut(many=True)

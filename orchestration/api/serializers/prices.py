"""Prices of models, in and out."""

from __future__ import annotations

from rest_framework import serializers

from ...models import ModelPrice
from .fields import Input, Text
from .goals import TEAM

USD = {"max_digits": 14, "decimal_places": 6, "min_value": 0}


class PriceOut(serializers.ModelSerializer[ModelPrice]):
    team = serializers.CharField(source="team.name", read_only=True, default=None, help_text="null: for all teams")

    class Meta:
        model = ModelPrice
        fields = ["id", "team", "provider", "model", "input_usd", "cached_input_usd", "output_usd"]
        fields += ["effective_from", "by", "created_at"]
        read_only_fields = fields


class PriceInput(Input):
    team = Text(required=False, max_length=60, help_text=TEAM)
    provider = Text(required=False, max_length=200, help_text="the server's name, or a pattern; without it: any")
    model = Text(max_length=200, help_text="the model's name, or a pattern such as qwen3-*")
    input_usd = serializers.DecimalField(**USD, help_text="USD per million tokens of prompts")  # type: ignore[arg-type]
    cached_input_usd = serializers.DecimalField(
        **USD,  # type: ignore[arg-type]
        required=False,
        help_text="the same for tokens that the provider had kept; without it: as `input_usd`",
    )
    output_usd = serializers.DecimalField(**USD, help_text="the same for answers")  # type: ignore[arg-type]
    effective_from = serializers.DateTimeField(required=False, help_text="without it: now")

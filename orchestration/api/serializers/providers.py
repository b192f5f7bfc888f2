"""Providers: a key goes in and never comes out."""

from __future__ import annotations

from rest_framework import serializers

from ...models import Provider
from ...services.providers import LARGEST_LIMIT, LEAST_CONTEXT, LONGEST_KEY, LONGEST_MODEL, MOST_MODELS
from .fields import Input, Number, Text
from .goals import TEAM


class ProviderOut(serializers.ModelSerializer[Provider]):
    team = serializers.CharField(
        source="team.name", default=None, allow_null=True, read_only=True, help_text="null: the installation's"
    )
    has_key = serializers.BooleanField(read_only=True, help_text="the key itself is never shown")
    model_names = serializers.ListField(child=serializers.CharField(), read_only=True, help_text="empty: any")

    class Meta:
        model = Provider
        fields = [
            *("id", "team", "name", "base_url", "has_key", "model_names", "requests_per_minute"),
            *("tokens_per_minute", "parallel_calls", "context_tokens", "created_at"),
        ]
        read_only_fields = fields


def _limit(words: str, least: int = 1) -> Number:
    return Number(required=False, allow_null=True, min_value=least, max_value=LARGEST_LIMIT, help_text=words)


class ProviderChange(Input):
    base_url = Text(required=False, max_length=500, help_text="where its /chat/completions is")
    key = Text(
        required=False, allow_blank=True, max_length=LONGEST_KEY, write_only=True, help_text="empty: it is forgotten"
    )
    model_names = serializers.ListField(
        child=Text(max_length=LONGEST_MODEL),
        required=False,
        max_length=MOST_MODELS,
        help_text="the models that may be used; empty: any",
    )
    requests_per_minute = _limit("null: no limit")
    tokens_per_minute = _limit("null: no limit")
    parallel_calls = _limit("null: no limit")
    context_tokens = _limit("what a prompt and its answer may hold together; null: nobody has said", LEAST_CONTEXT)


class ProviderInput(ProviderChange):
    name = Text(max_length=40, help_text="what goals call it: provider/model")
    team = Text(required=False, max_length=60, help_text=TEAM)
    base_url = Text(max_length=500, help_text="where its /chat/completions is")

"""JSON has types: a number is no text, and "yes" is no boolean. A field that nobody knows is refused, since it may be a typo."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

ANY_JSON = {"type": ["object", "array", "string", "number", "boolean"]}


class Text(serializers.CharField):
    """As it is typed: services trim and judge it."""

    default_error_messages = {"invalid": "must be a text"}

    def __init__(self, **options: Any) -> None:
        super().__init__(**({"trim_whitespace": False, "max_length": settings.GOAL_TEXT_MAX_BYTES} | options))

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Number(serializers.IntegerField):
    default_error_messages = {"invalid": "must be a whole number"}

    def to_internal_value(self, data: Any) -> int:
        whole = isinstance(data, int) or (isinstance(data, float) and data.is_integer())
        if isinstance(data, bool) or not whole:
            self.fail("invalid")
        return super().to_internal_value(int(data))


class Usd(serializers.DecimalField):
    """An amount that a person gives: a number, or a text such as "1.50"."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_digits=14, decimal_places=6, min_value=Decimal("0.000001"), **options)

    def to_internal_value(self, data: Any) -> Decimal:
        if isinstance(data, bool):
            self.fail("invalid")
        return super().to_internal_value(data)


class Flag(serializers.BooleanField):
    default_error_messages = {"invalid": "must be true or false"}

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid")
        return data


@extend_schema_field({"type": "object", "additionalProperties": {}})
class JSONObject(serializers.JSONField):
    default_error_messages = {"invalid": "must be a JSON object"}

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict):
            self.fail("invalid")
        return super().to_internal_value(data)


@extend_schema_field(ANY_JSON)
class AnyJSON(serializers.JSONField):
    """What the engine stored: objects, lists, texts."""


class Input(serializers.Serializer[Any]):
    """Body of a request."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and (unknown := sorted(set(data) - set(self.fields))):
            there = ", ".join(self.fields) or "none"
            raise serializers.ValidationError(
                {str(name)[:80]: [f"unknown field; there are {there}"] for name in unknown}
            )
        return super().to_internal_value(data)


class Limits(Input):
    """Caps of one goal. A new goal can only have lower ones than the installation's; a paused one is resumed with higher ones."""

    calls = Number(min_value=1, max_value=2**31 - 1, required=False, help_text="model calls")
    tokens = Number(min_value=1, max_value=2**31 - 1, required=False)
    commands = Number(min_value=1, max_value=2**31 - 1, required=False)
    seconds = Number(min_value=1, max_value=2**31 - 1, required=False, help_text="from its first claim")
    steps = Number(
        min_value=1, max_value=2**31 - 1, required=False, help_text="attempts at steps; no limit if not given"
    )
    usd = Usd(
        required=False,
        help_text="USD; no limit if not given. Where the model's price is unknown it needs `tokens` beside it",
    )

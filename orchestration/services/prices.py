"""What models cost, as people say it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal, InvalidOperation

from django.db import transaction
from django.utils import timezone

from ..errors import BadInput
from ..models import ModelPrice, Team
from ..selectors import prices
from ..transitions import repeatable
from .cleaning import clean_line, shown

MOST = Decimal(1_000_000)


@repeatable
def set_price(
    model: str,
    *,
    input_usd: object,
    output_usd: object,
    cached_input_usd: object = None,
    provider: str = "*",
    team: Team | None = None,
    effective_from: datetime | None = None,
    by: str,
) -> ModelPrice:
    """From then on (now, if nothing is said) calls of these models cost this much. Without a team it is for all of them.

    Raises BadInput. What was booked before keeps its price.
    """
    given = _amount(input_usd, "input")
    with transaction.atomic():
        made = ModelPrice.objects.create(
            team=team,
            provider=clean_line(provider, "the provider", 200).lower() or "*",
            model=_model(model),
            input_usd=given,
            cached_input_usd=given if cached_input_usd in (None, "") else _amount(cached_input_usd, "cached input"),
            output_usd=_amount(output_usd, "output"),
            effective_from=effective_from or timezone.now(),
            by=by,
        )
        transaction.on_commit(prices.table.forget)
    return made


def _model(model: str) -> str:
    cleaned = clean_line(model, "the model", 200)
    if not cleaned:
        raise BadInput("say which model: its name, or a pattern such as qwen3-*")
    return cleaned


def _amount(given: object, what: str) -> Decimal:
    try:
        amount = Decimal(str(given))
    except InvalidOperation:
        amount = Decimal("NaN")
    if isinstance(given, bool) or not amount.is_finite() or not 0 <= amount <= MOST or amount != round(amount, 6):
        raise BadInput(f"the {what} price is a number of USD per million tokens (0 to {MOST}), not {shown(given)}")
    return amount

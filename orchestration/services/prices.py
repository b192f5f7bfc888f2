"""What models cost, as people say it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from ..budget import Limits
from ..errors import BadInput
from ..models import ModelPrice, Team
from ..pricing import provider_of
from ..role_models import ROLES, split
from ..selectors import prices
from ..transitions import repeatable
from .cleaning import clean_line, shown
from .providers import known_providers

VENICE = "https://api.venice.ai/api/v1"  # where its key leads when no address is given
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


def refuse_unknown_price(
    limits: Limits, team: Team, models: Sequence[str] = (), named: Mapping[str, Sequence[str]] | None = None
) -> None:
    """A limit in USD cannot be kept while nobody knows what the model costs, unless one of tokens stands beside it. Raises BadInput.

    `models`: what rollouts ask for instead of the machine's own; `named`: chains by role. Here it can only be seen where the model
    is known before the work begins; else the goal pauses at its first call.
    """
    if limits.micro_usd is None or limits.tokens_limited:
        return
    here = [] if named and set(named) == set(ROLES) else _models_here(models)
    for dependency, model in [*here, *_models_there(team, named or {})]:
        if prices.price_of(dependency, model, team.pk) is None:
            provider = provider_of(dependency)
            raise BadInput(
                f"nobody knows the price of {shown(model)} at {provider}, so a limit in USD cannot be kept alone: give a limit of "
                "tokens beside it (--max-tokens), or set the price: "
                f"manage.py price set {shlex.quote(model)} --provider {provider} --input … --output …"
            )


def _models_there(team: Team, named: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """The same for the models of providers, fallbacks too: any of them may be the one that answers."""
    pairs = [split(name) for name in dict.fromkeys(name for chain in named.values() for name in chain)]
    known = known_providers(team, [provider for provider, _ in pairs]) if pairs else {}
    return [(f"model {model} at {known[name].base_url}", model) for name, model in pairs if name in known]


def _models_here(others: Sequence[str]) -> list[tuple[str, str]]:
    """What the settings of this machine name, and what the rollouts ask for instead: (how it names itself, model)."""
    env = settings.LLM_ENVIRONMENT
    address = env.get("LLM_BASE_URL", "").strip() or (VENICE if env.get("VENICE_API_KEY") else "")
    named = env.get("LLM_MODEL", "").strip()
    if not address or not named:
        return []
    return [(f"model {named} at {address}", model) for model in dict.fromkeys((named, *filter(None, others)))]


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

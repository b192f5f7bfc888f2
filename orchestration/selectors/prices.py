"""What a model costs now: our own table first, then the public prices of `genai-prices` for a server that it knows by address.

The public ones are loaded at the first question that needs them: they are 27 MB, and a model on this machine never asks.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from django.utils import timezone

from ..models import ModelPrice
from ..pricing import Offer, Price, best, provider_of

log = logging.getLogger(__name__)
FRESH = 30.0  # seconds for which a process believes what it read of the table
PUBLIC = "genai-prices"


class _Table:
    """The rows as this process read them last."""

    def __init__(self) -> None:
        self.read_at = 0.0
        self.offers: tuple[Offer, ...] = ()

    def rows(self) -> tuple[Offer, ...]:
        if not self.read_at or time.monotonic() - self.read_at > FRESH:
            self.offers = tuple(_offer(row) for row in ModelPrice.objects.all())
            self.read_at = time.monotonic()
        return self.offers

    def forget(self) -> None:
        self.read_at = 0.0


table = _Table()


def price_of(dependency: str, model: str, team: Any, at: datetime | None = None) -> Price | None:
    """None: nobody knows. `dependency`: as a model names itself and its server."""
    provider, now = provider_of(dependency), at or timezone.now()
    own = best(table.rows(), team, provider, model, now)
    return own or _public(provider, model, now.date().isoformat())


def _offer(row: ModelPrice) -> Offer:
    whose = "own table" if row.team_id is None else "team's own table"
    price = Price(row.input_usd, row.cached_input_usd, row.output_usd, whose)
    return Offer(row.team_id, row.provider, row.model, row.effective_from, price, row.pk)


@lru_cache(maxsize=256)
def _public(provider: str, model: str, day: str) -> Price | None:
    if not provider or _is_near(provider):
        return None
    from genai_prices import Usage, calc_price

    try:
        found: Any = calc_price(
            Usage(input_tokens=1, output_tokens=1),
            model,
            provider_api_url=f"https://{provider}/",
            genai_request_timestamp=datetime.fromisoformat(f"{day}T00:00:00+00:00"),
        ).model_price
    except LookupError:
        return None
    except Exception:  # whatever breaks there, a call's price is unknown, and the call is made
        log.warning("genai-prices could not be asked for %s at %s", model, provider, exc_info=True)
        return None
    ours, theirs, kept = (_highest(getattr(found, f"{name}_mtok")) for name in ("input", "output", "cache_read"))
    if ours is None or theirs is None:
        return None
    return Price(ours, ours if kept is None else kept, theirs, PUBLIC)


def _highest(price: Any) -> Decimal | None:
    """A price in tiers counts at its highest one: whoever must not pay too much never reserves too little."""
    tiers = getattr(price, "tiers", None)
    if tiers is None:
        return None if price is None else Decimal(price)
    return max([Decimal(price.base), *(Decimal(tier.price) for tier in tiers)])


def _is_near(provider: str) -> bool:
    """A server of one's own has no public price, whatever its model is called."""
    host = provider.rpartition(":")[0] if provider.count(":") == 1 else provider
    try:
        return ipaddress.ip_address(host.strip("[]")).is_private
    except ValueError:
        return "." not in host

"""PURE: what tokens cost. Money is counted in whole micro-USD (1e-6 USD), rounded up; a price that nobody knows is None, never 0.

A price of 1 USD per million tokens is one micro-USD a token, so costs are sums of products of two columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from typing import Any

MICRO = 1_000_000
MOST_USD = Decimal(10**8)
ANY = "*"
TOLD = ("input", "cached", "output", "source")


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens. `source`: who says so."""

    input: Decimal
    cached: Decimal
    output: Decimal
    source: str = ""

    def worst(self, tokens: int, answer: int) -> int:
        """What a call may cost at most, of whose `tokens` at most `answer` are the model's."""
        prompt = max(self.input, self.cached)
        return math.ceil((tokens - answer) * prompt + answer * self.output)

    def of(self, prompt: int, completion: int, cached: int = 0) -> int:
        """What a call cost; `cached` is the part of its prompt that the provider had kept."""
        kept = min(cached, prompt)
        return math.ceil((prompt - kept) * self.input + kept * self.cached + completion * self.output)

    def told(self) -> dict[str, str]:
        """As a call keeps it."""
        return {name: str(getattr(self, name)) for name in TOLD}


@dataclass(frozen=True, slots=True)
class Offer:
    """A row of our own table. `team` None: for all. Patterns are globs: `qwen3-*`, `*`."""

    team: Any
    provider: str
    model: str
    since: datetime
    price: Price
    id: int = 0

    def fits(self, team: Any, provider: str, model: str, at: datetime) -> bool:
        return (
            self.team in (None, team)
            and self.since <= at
            and fnmatchcase(provider.lower(), self.provider.lower())
            and fnmatchcase(model.lower(), self.model.lower())
        )

    @property
    def rank(self) -> tuple[Any, ...]:
        """A team's own before everybody's, what names more before what names less, the newest first."""
        return (self.team is not None, _named(self.model), _named(self.provider), self.since, self.id)


def best(offers: Iterable[Offer], team: Any, provider: str, model: str, at: datetime) -> Price | None:
    fitting = [offer for offer in offers if offer.fits(team, provider, model, at)]
    return max(fitting, key=lambda offer: offer.rank).price if fitting else None


def _named(pattern: str) -> tuple[bool, int]:
    return not set(pattern) & set("*?["), len(pattern.replace("*", ""))


def provider_of(dependency: str) -> str:
    """The server's name in `model M at URL`: host, and the port where one is given. Empty: no server at all."""
    address = dependency.rpartition(" at ")[2]
    return address.partition("://")[2].partition("/")[0].rpartition("@")[2].lower()


def price_from(told: Mapping[str, str] | None) -> Price | None:
    """The price that a call keeps."""
    if not told:
        return None
    ours, kept, theirs = (Decimal(told[name]) for name in ("input", "cached", "output"))
    return Price(ours, kept, theirs, told.get("source", ""))


# ---- amounts


def micro_usd(amount: object) -> int:
    """What somebody typed in USD, as micro-USD. Raises ValueError."""
    text = str(amount).strip().removeprefix("$")
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if isinstance(amount, bool) or not value.is_finite() or not 0 < value < MOST_USD or value * MICRO % 1:
        raise ValueError(f"an amount in USD is a number above 0 with at most 6 decimals, not {str(amount)[:40]!r}")
    return int(value * MICRO)


def usd(micro: int | None) -> Decimal | None:
    return None if micro is None else Decimal(micro) / MICRO


def in_usd(micro: int | None) -> str:
    """`12.34 USD`; what is below a cent keeps its digits; None is unknown."""
    if micro is None:
        return "unknown"
    value = Decimal(micro) / MICRO
    if micro % 10_000 == 0 or abs(micro) >= 10 * MICRO:
        return f"{value:,.2f} USD"
    return f"{value.normalize():,f} USD"


def as_text(micro: int | None) -> str | None:
    """An amount in USD as JSON has it."""
    return None if micro is None else f"{Decimal(micro) / MICRO:.6f}"


def amount(text: str) -> str:
    """The same in words."""
    return in_usd(int(Decimal(text) * MICRO))


def known_usd(micro: int | None, unpriced: int = 0) -> str:
    """A sum in words, when some calls have no known price: `0.12 USD and 3 calls at an unknown price`."""
    if not unpriced:
        return in_usd(micro)
    calls = f"{unpriced} call{'s' if unpriced != 1 else ''} at an unknown price"
    return f"{in_usd(micro)} and {calls}" if micro else f"unknown ({calls})"

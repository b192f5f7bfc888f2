"""What tokens cost, in whole micro-USD; a price that nobody knows is never 0."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from orchestration.pricing import Offer, Price, best, in_usd, known_usd, micro_usd, price_from, provider_of, usd

THEN, NOW = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)
PRICE = Price(Decimal("0.9"), Decimal("0.45"), Decimal("4.5"), "own table")


def offer(model: str, amount: str, team: str | None = None, provider: str = "*", since: datetime = THEN) -> Offer:
    return Offer(team, provider, model, since, Price(Decimal(amount), Decimal(amount), Decimal(amount)))


def test_a_call_costs_its_tokens_and_what_the_provider_had_kept_costs_less() -> None:
    assert PRICE.of(1_000_000, 0) == 900_000
    assert PRICE.of(1000, 100) == 900 + 450
    assert PRICE.of(1000, 100, cached=800) == 180 + 360 + 450
    assert PRICE.of(1, 0) == 1, "rounded up: no call is for nothing"
    assert PRICE.of(10, 0, cached=1000) == 5, "no more was kept than was sent"


def test_the_worst_case_is_never_below_what_is_billed_for_as_many_tokens() -> None:
    assert PRICE.worst(1100, 100) == PRICE.of(1000, 100)
    dear_to_keep = Price(Decimal(1), Decimal(2), Decimal(3))
    assert dear_to_keep.worst(1100, 100) >= dear_to_keep.of(1000, 100, cached=1000)


def test_what_a_call_keeps_of_its_price_is_that_price() -> None:
    assert price_from(PRICE.told()) == PRICE
    assert price_from(None) is None


@pytest.mark.parametrize(
    ("dependency", "provider"),
    [
        ("model gpt-5 at https://api.openai.com/v1", "api.openai.com"),
        ("model a at b at http://127.0.0.1:11434/v1", "127.0.0.1:11434"),
        ("", ""),
    ],
)
def test_the_server_is_known_by_how_a_model_names_itself(dependency: str, provider: str) -> None:
    assert provider_of(dependency) == provider


def test_the_nearest_offer_counts() -> None:
    offers = [
        offer("*", "1"),
        offer("qwen3-*", "2"),
        offer("qwen3-235b", "3"),
        offer("qwen3-*", "4", team="shop"),
        offer("qwen3-235b", "5", since=datetime(2026, 12, 1, tzinfo=UTC)),
        offer("qwen3-235b", "6", provider="api.venice.ai"),
    ]

    def found(team: str, model: str, provider: str = "elsewhere", at: datetime = NOW) -> Decimal:
        price = best(offers, team, provider, model, at)
        assert price is not None
        return price.input

    assert found("a", "gpt") == 1
    assert found("a", "QWEN3-4b") == 2
    assert found("a", "qwen3-235b") == 3
    assert found("shop", "qwen3-235b") == 4, "a team's own comes first"
    assert found("a", "qwen3-235b", "api.venice.ai") == 6
    assert found("a", "qwen3-235b", at=datetime(2027, 1, 1, tzinfo=UTC)) == 5, "from its date on"
    assert best(offers[1:2], "a", "", "gpt", NOW) is None
    assert best(offers[:1], "a", "", "gpt", datetime(2025, 1, 1, tzinfo=UTC)) is None, "it does not count yet"


def test_amounts_are_read_and_said_without_loss() -> None:
    assert micro_usd("1.50") == micro_usd(1.5) == micro_usd(Decimal("1.5")) == 1_500_000
    assert micro_usd("$0.000001") == 1
    assert usd(1_500_000) == Decimal("1.5")
    assert (in_usd(1_500_000), in_usd(1_234_567), in_usd(7), in_usd(None)) == (
        "1.50 USD",
        "1.234567 USD",
        "0.000007 USD",
        "unknown",
    )
    assert in_usd(12_345_678_901) == "12,345.68 USD"
    assert known_usd(0, 3) == "unknown (3 calls at an unknown price)", "what is unknown is not 0"
    assert known_usd(20_000, 1) == "0.02 USD and 1 call at an unknown price"
    assert known_usd(0) == "0.00 USD"


@pytest.mark.parametrize("wrong", ["", "x", "-1", "0", "NaN", "Infinity", "0.0000001", "1e12", True, None])
def test_what_is_no_amount_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="amount in USD"):
        micro_usd(wrong)

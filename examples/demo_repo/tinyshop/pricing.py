"""Prices in cents."""


def discounted(price: int, percent: int) -> int:
    """The price after `percent` off, rounded down to a cent."""
    if not 0 <= percent <= 100:
        raise ValueError(f"percent must be 0 to 100, not {percent}")
    return price * percent // 100


def total(prices: list[int]) -> int:
    return sum(prices)

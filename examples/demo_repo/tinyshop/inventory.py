"""What is on the shelves."""


def must_reorder(stock: int, reorder_point: int) -> bool:
    """True once the stock has come down to the reorder point."""
    return stock < reorder_point


def after_sale(stock: int, sold: int) -> int:
    if sold > stock:
        raise ValueError(f"only {stock} left")
    return stock - sold

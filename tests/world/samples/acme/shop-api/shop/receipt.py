"""Receipts as text."""

from shop.cart import Cart
from shop.money import show
from shop.pricing import LinePrice, price_cart

WIDTH = 40


def _row(left: str, right: str) -> str:
    return f"{left[:WIDTH - len(right) - 1]:<{WIDTH - len(right)}}{right}"


def _line(price: LinePrice) -> list[str]:
    line = price.line
    rows = [_row(f"{line.quantity} x {line.product.name}", show(price.gross))]
    if line.discount:
        rows.append(_row(f"  {line.discount.describe()}", show(-line.discount.amount(price.gross))))
    return rows


def receipt(cart: Cart) -> str:
    """The receipt of a cart, one row per line, then tax and total."""
    price = price_cart(cart)
    rows = [row for line in price.lines for row in _line(line)]
    rows.append("-" * WIDTH)
    rows.append(_row("Net", show(price.net)))
    rows.append(_row("Tax", show(price.tax)))
    rows.append(_row("Total", show(price.total)))
    return "\n".join(rows)

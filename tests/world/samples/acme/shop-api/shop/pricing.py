"""What a cart costs."""

from dataclasses import dataclass

from shop.cart import Cart, Line
from shop.money import share


@dataclass(frozen=True)
class LinePrice:
    """Price of one line in cents. `net` is what is left after the discount, before tax."""

    line: Line
    gross: int
    discount: int
    net: int
    tax: int

    @property
    def total(self) -> int:
        return self.net + self.tax


@dataclass(frozen=True)
class CartPrice:
    """Price of a whole cart in cents."""

    lines: list[LinePrice]

    @property
    def discount(self) -> int:
        return sum(line.discount for line in self.lines)

    @property
    def net(self) -> int:
        return sum(line.net for line in self.lines)

    @property
    def tax(self) -> int:
        return sum(line.tax for line in self.lines)

    @property
    def total(self) -> int:
        return self.net + self.tax


def price_line(line: Line) -> LinePrice:
    """Price of one line: pieces times price, less the discount, plus tax."""
    gross = line.product.price * line.quantity
    discount = line.discount.amount(gross) if line.discount else 0
    net = gross - discount
    return LinePrice(line, gross, discount, net, share(net, line.product.tax))


def price_cart(cart: Cart) -> CartPrice:
    """Price of all lines."""
    return CartPrice([price_line(line) for line in cart.lines])

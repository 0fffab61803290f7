"""Discounts on a line of a cart."""

from dataclasses import dataclass

from shop.money import share


@dataclass(frozen=True)
class Percentage:
    """A part of the price, 0 to 100 percent."""

    percent: int

    def __post_init__(self) -> None:
        if not 0 <= self.percent <= 100:
            raise ValueError(f"{self.percent} is not a percentage")

    def amount(self, price: int) -> int:
        """Cents taken off a price."""
        return share(price, self.percent)

    def describe(self) -> str:
        return f"{self.percent} % off"


@dataclass(frozen=True)
class Fixed:
    """A fixed number of cents."""

    cents: int

    def amount(self, price: int) -> int:
        """Cents taken off a price."""
        return self.cents

    def describe(self) -> str:
        return "discount"


Discount = Percentage | Fixed


def to_json(discount: Discount | None) -> dict | None:
    """A discount as stored and sent."""
    match discount:
        case None:
            return None
        case Percentage(percent):
            return {"percent": percent}
        case Fixed(cents):
            return {"cents": cents}


def from_json(data: dict | None) -> Discount | None:
    """The discount that `to_json` wrote."""
    match data:
        case None:
            return None
        case {"percent": int(percent)}:
            return Percentage(percent)
        case {"cents": int(cents)}:
            return Fixed(cents)
        case _:
            raise ValueError(f"not a discount: {data}")

"""A cart: lines of products with quantities and discounts."""

from dataclasses import dataclass, replace

from shop.catalogue import Catalogue, Product
from shop.discounts import Discount


@dataclass(frozen=True)
class Line:
    """Some pieces of one product."""

    product: Product
    quantity: int
    discount: Discount | None = None


class Cart:
    """Lines in the order they were added, one per product."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._lines: dict[str, Line] = {}

    @property
    def lines(self) -> list[Line]:
        return list(self._lines.values())

    def add(self, sku: str, quantity: int = 1) -> None:
        """Adds pieces of a product."""
        if quantity < 1:
            raise ValueError("quantity must be at least 1")
        product = self._catalogue.get(sku)
        line = self._lines.get(sku, Line(product, 0))
        self._lines[sku] = replace(line, quantity=line.quantity + quantity)

    def remove(self, sku: str) -> None:
        """Removes a product altogether."""
        self._line(sku)
        del self._lines[sku]

    def discount(self, sku: str, discount: Discount | None) -> None:
        """Sets or clears the discount on a product's line."""
        self._lines[sku] = replace(self._line(sku), discount=discount)

    def _line(self, sku: str) -> Line:
        if sku not in self._lines:
            raise LookupError(f"{sku} is not in the cart")
        return self._lines[sku]

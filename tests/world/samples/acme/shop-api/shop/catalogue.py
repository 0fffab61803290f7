"""Products that can be bought."""

from dataclasses import dataclass
from typing import Iterable


@dataclass(frozen=True)
class Product:
    """Something for sale. `price` is in cents, without tax; `tax` is a percentage."""

    sku: str
    name: str
    price: int
    tax: int = 19

    def __post_init__(self) -> None:
        if not self.sku:
            raise ValueError("a product needs a SKU")
        if self.price < 0:
            raise ValueError(f"price of {self.sku} is negative")
        if not 0 <= self.tax <= 100:
            raise ValueError(f"tax of {self.sku} is not a percentage")


class UnknownProduct(LookupError):
    """No product has this SKU."""

    def __init__(self, sku: str) -> None:
        super().__init__(f"there is no product {sku}")
        self.sku = sku


class Catalogue:
    """Products by SKU."""

    def __init__(self, products: Iterable[Product] = ()) -> None:
        self._products: dict[str, Product] = {}
        for product in products:
            self.add(product)

    def add(self, product: Product) -> None:
        if product.sku in self._products:
            raise ValueError(f"{product.sku} is already in the catalogue")
        self._products[product.sku] = product

    def get(self, sku: str) -> Product:
        try:
            return self._products[sku]
        except KeyError:
            raise UnknownProduct(sku) from None

    def search(self, words: str) -> list[Product]:
        """Products whose name contains every word, by name."""
        wanted = words.lower().split()
        found = [p for p in self if all(word in p.name.lower() for word in wanted)]
        return sorted(found, key=lambda product: product.name)

    def __iter__(self):
        return iter(self._products.values())

    def __len__(self) -> int:
        return len(self._products)


def sample() -> Catalogue:
    """The products of the demo shop."""
    return Catalogue([
        Product("MUG", "Coffee mug", 899),
        Product("TEA", "Green tea, 100 g", 450, tax=7),
        Product("POT", "Tea pot", 3490),
        Product("STICKER", "Sticker", 150),
    ])

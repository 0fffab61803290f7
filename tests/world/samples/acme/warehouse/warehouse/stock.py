"""What is on the shelves, and what of it is promised."""

from collections import Counter


class OutOfStock(Exception):
    """Fewer pieces are free than were asked for."""


class Stock:
    """Pieces by SKU. A reservation holds pieces for an order until they are shipped or released."""

    def __init__(self) -> None:
        self._shelf: Counter[str] = Counter()
        self._reserved: dict[str, Counter[str]] = {}

    def receive(self, sku: str, pieces: int) -> None:
        """Goods in."""
        if pieces < 1:
            raise ValueError("at least one piece must come in")
        self._shelf[sku] += pieces

    def free(self, sku: str) -> int:
        """Pieces that no order holds."""
        return self._shelf[sku] - sum(order[sku] for order in self._reserved.values())

    def reserve(self, order: str, wanted: dict[str, int]) -> None:
        """Holds pieces for an order: all of them, or none."""
        for sku, pieces in wanted.items():
            if pieces > self.free(sku):
                raise OutOfStock(f"{sku}: {pieces} wanted, {self.free(sku)} free")
        self._reserved.setdefault(order, Counter()).update(wanted)

    def release(self, order: str) -> None:
        """Gives an order's pieces free again."""
        self._reserved.pop(order, None)

    def ship(self, order: str) -> dict[str, int]:
        """Goods out: an order's pieces leave the shelf."""
        pieces = self._reserved.pop(order)
        self._shelf.subtract(pieces)
        return dict(pieces)

"""Carts kept as JSON files."""

import json
import os
import re
from pathlib import Path

from shop import discounts
from shop.cart import Cart
from shop.catalogue import Catalogue

_NAME = re.compile(r"[a-z0-9-]{1,40}")


class Store:
    """One file per cart in a directory."""

    def __init__(self, directory: str | os.PathLike, catalogue: Catalogue) -> None:
        self._directory = Path(directory)
        self._catalogue = catalogue

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a cart name")
        return self._directory / f"{name}.json"

    def load(self, name: str) -> Cart:
        """The cart with this name; a new one when there is none."""
        cart = Cart(self._catalogue)
        path = self._path(name)
        if path.exists():
            for line in json.loads(path.read_text())["lines"]:
                cart.add(line["sku"], line["quantity"])
                cart.discount(line["sku"], discounts.from_json(line["discount"]))
        return cart

    def save(self, name: str, cart: Cart) -> None:
        """Replaces the file in one step, so that a crash leaves the old cart."""
        lines = [
            {
                "sku": line.product.sku,
                "quantity": line.quantity,
                "discount": discounts.to_json(line.discount),
            }
            for line in cart.lines
        ]
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".tmp")
        draft.write_text(json.dumps({"lines": lines}, indent=2) + "\n")
        draft.replace(path)

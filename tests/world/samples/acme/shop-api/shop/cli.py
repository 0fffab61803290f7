"""The command line: `python3 -m shop`."""

import argparse
import sys

from shop import catalogue
from shop.api import Api, server
from shop.discounts import Fixed, Percentage
from shop.money import cents, show
from shop.receipt import receipt
from shop.store import Store


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="shop", description="A small shop.")
    parser.add_argument("--carts", default="carts", help="directory of the carts (default: %(default)s)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("products", help="list products")
    add = commands.add_parser("add", help="add a product to a cart")
    add.add_argument("cart")
    add.add_argument("sku")
    add.add_argument("quantity", type=int, nargs="?", default=1)
    off = add.add_mutually_exclusive_group()
    off.add_argument("--off", type=cents, metavar="AMOUNT", help="fixed discount, as 2.50")
    off.add_argument("--percent", type=int, help="discount in percent")
    show_receipt = commands.add_parser("receipt", help="print the receipt of a cart")
    show_receipt.add_argument("cart")
    serve = commands.add_parser("serve", help="serve the HTTP API")
    serve.add_argument("--port", type=int, default=8080)
    return parser


def main(arguments: list[str] | None = None, out=None) -> int:
    """Runs one command; the exit status is 1 when it cannot be done."""
    out = out or sys.stdout
    options = _parser().parse_args(arguments)
    products = catalogue.sample()
    store = Store(options.carts, products)
    try:
        if options.command == "products":
            for product in products:
                print(f"{product.sku:<10}{product.name:<24}{show(product.price):>8}", file=out)
        elif options.command == "add":
            cart = store.load(options.cart)
            cart.add(options.sku, options.quantity)
            if options.off is not None:
                cart.discount(options.sku, Fixed(options.off))
            if options.percent is not None:
                cart.discount(options.sku, Percentage(options.percent))
            store.save(options.cart, cart)
        elif options.command == "receipt":
            print(receipt(store.load(options.cart)), file=out)
        else:
            server(Api(products, store), options.port).serve_forever()
    except (LookupError, ValueError) as error:
        print(f"shop: {error}", file=sys.stderr)
        return 1
    return 0

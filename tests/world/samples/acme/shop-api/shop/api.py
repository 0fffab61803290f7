"""The HTTP API.

    GET  /products            all products
    GET  /carts/<name>        a cart with its prices
    POST /carts/<name>/lines  {"sku": "MUG", "quantity": 2, "discount": {"cents": 100}}
"""

import json
import re
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from shop import discounts
from shop.cart import Cart
from shop.catalogue import Catalogue
from shop.pricing import price_cart
from shop.store import Store

_CART = re.compile(r"/carts/([^/]+)(/lines)?")


def cart_json(cart: Cart) -> dict:
    """A cart as the API shows it."""
    price = price_cart(cart)
    return {
        "lines": [
            {
                "sku": line.line.product.sku,
                "quantity": line.line.quantity,
                "discount": line.discount,
                "net": line.net,
                "total": line.total,
            }
            for line in price.lines
        ],
        "tax": price.tax,
        "total": price.total,
    }


class Api:
    """Requests to answers, without HTTP around them."""

    def __init__(self, catalogue: Catalogue, store: Store) -> None:
        self._catalogue = catalogue
        self._store = store

    def handle(self, method: str, path: str, body: dict | None = None) -> tuple[HTTPStatus, dict]:
        """Status and body of the answer."""
        try:
            return self._route(method, path, body or {})
        except LookupError as error:
            return HTTPStatus.NOT_FOUND, {"error": str(error)}
        except (ValueError, TypeError) as error:
            return HTTPStatus.BAD_REQUEST, {"error": str(error)}

    def _route(self, method: str, path: str, body: dict) -> tuple[HTTPStatus, dict]:
        if (method, path) == ("GET", "/products"):
            products = [{"sku": p.sku, "name": p.name, "price": p.price} for p in self._catalogue]
            return HTTPStatus.OK, {"products": products}
        match = _CART.fullmatch(path)
        if not match:
            raise LookupError(f"there is nothing at {path}")
        name, lines = match.groups()
        cart = self._store.load(name)
        if method == "GET" and not lines:
            return HTTPStatus.OK, cart_json(cart)
        if method == "POST" and lines:
            sku = body.get("sku", "")
            cart.add(sku, body.get("quantity", 1))
            if "discount" in body:
                cart.discount(sku, discounts.from_json(body["discount"]))
            self._store.save(name, cart)
            return HTTPStatus.CREATED, cart_json(cart)
        return HTTPStatus.METHOD_NOT_ALLOWED, {"error": f"{method} is not possible here"}


def server(api: Api, port: int) -> ThreadingHTTPServer:
    """A server on loopback; call `serve_forever` on it."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                body = json.loads(text) if text else None
            except ValueError:
                status, answer = HTTPStatus.BAD_REQUEST, {"error": "the body is not JSON"}
            else:
                status, answer = api.handle(self.command, self.path, body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _answer

        def log_message(self, *args) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)

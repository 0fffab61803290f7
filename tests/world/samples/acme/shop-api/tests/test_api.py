import json
import tempfile
import threading
import unittest
import urllib.request
from http import HTTPStatus

from shop.api import Api, server
from shop.catalogue import sample
from shop.store import Store


class Requests(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.api = Api(sample(), Store(directory.name, sample()))

    def test_lists_products(self):
        status, body = self.api.handle("GET", "/products")
        self.assertEqual((status, len(body["products"])), (HTTPStatus.OK, 4))

    def test_adds_a_line_and_shows_the_cart(self):
        line = {"sku": "MUG", "quantity": 2, "discount": {"percent": 50}}
        status, body = self.api.handle("POST", "/carts/ana/lines", line)
        self.assertEqual((status, body["lines"][0]["net"]), (HTTPStatus.CREATED, 899))
        self.assertEqual(self.api.handle("GET", "/carts/ana"), (HTTPStatus.OK, body))

    def test_unknown_product_is_not_found(self):
        status, body = self.api.handle("POST", "/carts/ana/lines", {"sku": "CAR"})
        self.assertEqual((status, body), (HTTPStatus.NOT_FOUND, {"error": "there is no product CAR"}))

    def test_wrong_quantity_is_a_bad_request(self):
        status, _ = self.api.handle("POST", "/carts/ana/lines", {"sku": "MUG", "quantity": 0})
        self.assertEqual(status, HTTPStatus.BAD_REQUEST)

    def test_unknown_path_is_not_found(self):
        self.assertEqual(self.api.handle("GET", "/orders")[0], HTTPStatus.NOT_FOUND)

    def test_other_methods_are_refused(self):
        self.assertEqual(self.api.handle("POST", "/carts/ana")[0], HTTPStatus.METHOD_NOT_ALLOWED)

    def test_speaks_http(self):
        httpd = server(self.api, 0)
        self.addCleanup(httpd.server_close)
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(httpd.shutdown)
        with urllib.request.urlopen(f"http://127.0.0.1:{httpd.server_port}/products") as answer:
            self.assertEqual(json.load(answer)["products"][0]["sku"], "MUG")

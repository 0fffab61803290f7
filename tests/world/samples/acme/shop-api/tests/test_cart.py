import unittest

from shop.cart import Cart
from shop.catalogue import UnknownProduct, sample
from shop.discounts import Percentage


class Carts(unittest.TestCase):
    def setUp(self):
        self.cart = Cart(sample())

    def test_is_empty_at_first(self):
        self.assertEqual(self.cart.lines, [])

    def test_adds_pieces_to_the_same_line(self):
        self.cart.add("MUG")
        self.cart.add("MUG", 2)
        self.assertEqual([line.quantity for line in self.cart.lines], [3])

    def test_keeps_the_order_of_adding(self):
        for sku in ("POT", "MUG", "POT"):
            self.cart.add(sku)
        self.assertEqual([line.product.sku for line in self.cart.lines], ["POT", "MUG"])

    def test_refuses_unknown_products(self):
        with self.assertRaises(UnknownProduct):
            self.cart.add("CAR")

    def test_refuses_quantities_below_one(self):
        with self.assertRaises(ValueError):
            self.cart.add("MUG", 0)

    def test_removes_a_line(self):
        self.cart.add("MUG")
        self.cart.remove("MUG")
        self.assertEqual(self.cart.lines, [])

    def test_cannot_remove_what_is_not_there(self):
        with self.assertRaises(LookupError):
            self.cart.remove("MUG")

    def test_discount_stays_when_pieces_are_added(self):
        self.cart.add("MUG")
        self.cart.discount("MUG", Percentage(10))
        self.cart.add("MUG")
        self.assertEqual(self.cart.lines[0].discount, Percentage(10))

    def test_discount_can_be_cleared(self):
        self.cart.add("MUG")
        self.cart.discount("MUG", Percentage(10))
        self.cart.discount("MUG", None)
        self.assertIsNone(self.cart.lines[0].discount)

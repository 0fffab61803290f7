import unittest

from shop.cart import Cart, Line
from shop.catalogue import Product, sample
from shop.discounts import Fixed, Percentage
from shop.pricing import price_cart, price_line

MUG = Product("MUG", "Coffee mug", 1000)


class Lines(unittest.TestCase):
    def test_multiplies_and_adds_tax(self):
        price = price_line(Line(MUG, 3))
        self.assertEqual((price.gross, price.net, price.tax, price.total), (3000, 3000, 570, 3570))

    def test_percentage_is_taken_before_tax(self):
        price = price_line(Line(MUG, 1, Percentage(10)))
        self.assertEqual((price.discount, price.net, price.tax), (100, 900, 171))

    def test_fixed_discount_is_taken_once_per_line(self):
        price = price_line(Line(MUG, 2, Fixed(500)))
        self.assertEqual((price.discount, price.net), (500, 1500))

    def test_full_percentage_leaves_nothing(self):
        self.assertEqual(price_line(Line(MUG, 2, Percentage(100))).total, 0)


class Carts(unittest.TestCase):
    def test_empty_cart_costs_nothing(self):
        self.assertEqual(price_cart(Cart(sample())).total, 0)

    def test_adds_lines_with_their_own_tax(self):
        cart = Cart(sample())
        cart.add("MUG")
        cart.add("TEA", 2)
        price = price_cart(cart)
        self.assertEqual((price.net, price.tax, price.total), (1799, 234, 2033))

    def test_adds_discounts(self):
        cart = Cart(sample())
        cart.add("MUG")
        cart.add("POT")
        cart.discount("MUG", Fixed(99))
        cart.discount("POT", Percentage(10))
        self.assertEqual(price_cart(cart).discount, 99 + 349)

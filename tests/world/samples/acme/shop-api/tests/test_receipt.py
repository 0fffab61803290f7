import unittest

from shop.cart import Cart
from shop.catalogue import sample
from shop.discounts import Fixed, Percentage
from shop.receipt import WIDTH, receipt


class Receipts(unittest.TestCase):
    def setUp(self):
        self.cart = Cart(sample())

    def rows(self):
        return [row.split() for row in receipt(self.cart).splitlines()]

    def test_shows_lines_tax_and_total(self):
        self.cart.add("MUG", 2)
        rows = self.rows()
        self.assertEqual(rows[0], ["2", "x", "Coffee", "mug", "17.98"])
        self.assertEqual(rows[-3:], [["Net", "17.98"], ["Tax", "3.42"], ["Total", "21.40"]])

    def test_shows_a_percentage(self):
        self.cart.add("POT")
        self.cart.discount("POT", Percentage(10))
        self.assertEqual(self.rows()[1], ["10", "%", "off", "-3.49"])

    def test_shows_a_fixed_discount(self):
        self.cart.add("POT")
        self.cart.discount("POT", Fixed(500))
        self.assertEqual(self.rows()[1], ["discount", "-5.00"])

    def test_rows_are_equally_wide(self):
        self.cart.add("TEA")
        self.assertEqual({len(row) for row in receipt(self.cart).splitlines()}, {WIDTH})

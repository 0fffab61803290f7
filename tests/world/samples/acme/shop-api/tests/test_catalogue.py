import unittest

from shop.catalogue import Catalogue, Product, UnknownProduct, sample


class Products(unittest.TestCase):
    def test_price_must_not_be_negative(self):
        with self.assertRaises(ValueError):
            Product("X", "x", -1)

    def test_tax_is_a_percentage(self):
        with self.assertRaises(ValueError):
            Product("X", "x", 1, tax=101)

    def test_sku_is_needed(self):
        with self.assertRaises(ValueError):
            Product("", "x", 1)


class Catalogues(unittest.TestCase):
    def test_finds_by_sku(self):
        self.assertEqual(sample().get("MUG").price, 899)

    def test_unknown_sku_is_named(self):
        with self.assertRaises(UnknownProduct) as caught:
            sample().get("CAR")
        self.assertEqual(caught.exception.sku, "CAR")

    def test_a_sku_is_taken_once(self):
        catalogue = Catalogue([Product("X", "x", 1)])
        with self.assertRaises(ValueError):
            catalogue.add(Product("X", "y", 2))

    def test_searches_every_word_and_sorts_by_name(self):
        self.assertEqual([p.sku for p in sample().search("tea")], ["TEA", "POT"])
        self.assertEqual([p.sku for p in sample().search("POT tea")], ["POT"])

    def test_counts(self):
        self.assertEqual(len(sample()), 4)

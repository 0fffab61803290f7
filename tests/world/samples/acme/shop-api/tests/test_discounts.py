import unittest

from shop.discounts import Fixed, Percentage, from_json, to_json


class Percentages(unittest.TestCase):
    def test_takes_a_part(self):
        self.assertEqual(Percentage(10).amount(1000), 100)

    def test_takes_all_at_most(self):
        self.assertEqual(Percentage(100).amount(899), 899)

    def test_refuses_more_than_all_and_less_than_nothing(self):
        for percent in (-1, 101):
            with self.subTest(percent), self.assertRaises(ValueError):
                Percentage(percent)

    def test_describes_itself(self):
        self.assertEqual(Percentage(10).describe(), "10 % off")


class FixedAmounts(unittest.TestCase):
    def test_takes_its_amount(self):
        self.assertEqual(Fixed(250).amount(1000), 250)


class Json(unittest.TestCase):
    def test_comes_back_as_it_was(self):
        for discount in (None, Percentage(5), Fixed(100)):
            with self.subTest(discount):
                self.assertEqual(from_json(to_json(discount)), discount)

    def test_refuses_anything_else(self):
        for data in ({}, {"percent": "5"}, {"euros": 1}):
            with self.subTest(data), self.assertRaises(ValueError):
                from_json(data)

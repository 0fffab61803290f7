import unittest

from shop.money import cents, share, show


class Cents(unittest.TestCase):
    def test_reads_amounts_as_people_write_them(self):
        for text, expected in [("12", 1200), ("12.5", 1250), ("0.05", 5), ("-1.20", -120)]:
            with self.subTest(text):
                self.assertEqual(cents(text), expected)

    def test_refuses_parts_of_a_cent(self):
        with self.assertRaises(ValueError):
            cents("1.005")


class Show(unittest.TestCase):
    def test_shows_two_decimals(self):
        self.assertEqual(show(1250), "12.50")

    def test_shows_less_than_one(self):
        self.assertEqual(show(5), "0.05")

    def test_shows_negative_amounts(self):
        self.assertEqual(show(-105), "-1.05")


class Share(unittest.TestCase):
    def test_takes_a_percentage(self):
        self.assertEqual(share(1000, 19), 190)

    def test_rounds_half_up(self):
        self.assertEqual(share(50, 19), 10)
        self.assertEqual(share(150, 3), 5)

    def test_of_nothing_is_nothing(self):
        self.assertEqual(share(0, 19), 0)

import unittest

from warehouse.stock import OutOfStock, Stock


class Stocks(unittest.TestCase):
    def setUp(self):
        self.stock = Stock()
        self.stock.receive("MUG", 3)

    def test_reserved_pieces_are_not_free(self):
        self.stock.reserve("o1", {"MUG": 2})
        self.assertEqual(self.stock.free("MUG"), 1)

    def test_reserves_all_or_nothing(self):
        with self.assertRaises(OutOfStock):
            self.stock.reserve("o1", {"MUG": 1, "POT": 1})
        self.assertEqual(self.stock.free("MUG"), 3)

    def test_release_gives_back(self):
        self.stock.reserve("o1", {"MUG": 2})
        self.stock.release("o1")
        self.assertEqual(self.stock.free("MUG"), 3)

    def test_shipped_pieces_leave_the_shelf(self):
        self.stock.reserve("o1", {"MUG": 2})
        self.assertEqual(self.stock.ship("o1"), {"MUG": 2})
        self.assertEqual(self.stock.free("MUG"), 1)

    def test_nothing_cannot_come_in(self):
        with self.assertRaises(ValueError):
            self.stock.receive("MUG", 0)

import tempfile
import unittest
from pathlib import Path

from shop.catalogue import sample
from shop.discounts import Fixed
from shop.store import Store


class Stores(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.store = Store(self.directory, sample())

    def test_unknown_cart_is_new(self):
        self.assertEqual(self.store.load("ana").lines, [])

    def test_cart_comes_back_as_it_was(self):
        cart = self.store.load("ana")
        cart.add("MUG", 2)
        cart.discount("MUG", Fixed(100))
        self.store.save("ana", cart)
        self.assertEqual(self.store.load("ana").lines, cart.lines)

    def test_leaves_no_draft_behind(self):
        self.store.save("ana", self.store.load("ana"))
        self.assertEqual([path.name for path in self.directory.iterdir()], ["ana.json"])

    def test_names_cannot_leave_the_directory(self):
        for name in ("../ana", "", "a b"):
            with self.subTest(name), self.assertRaises(ValueError):
                self.store.load(name)

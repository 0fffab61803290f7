import io
import tempfile
import unittest
from contextlib import redirect_stderr

from shop.cli import main


class Commands(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.carts = directory.name

    def run_shop(self, *arguments):
        out, err = io.StringIO(), io.StringIO()
        with redirect_stderr(err):
            status = main(["--carts", self.carts, *arguments], out)
        return status, out.getvalue(), err.getvalue()

    def test_lists_products(self):
        status, out, _ = self.run_shop("products")
        self.assertEqual((status, len(out.splitlines())), (0, 4))

    def test_adds_and_prints_a_receipt(self):
        self.run_shop("add", "ana", "POT", "--off", "4.90")
        status, out, _ = self.run_shop("receipt", "ana")
        self.assertEqual(status, 0)
        self.assertIn("-4.90", out)

    def test_says_what_is_wrong(self):
        status, _, err = self.run_shop("add", "ana", "CAR")
        self.assertEqual((status, err), (1, "shop: there is no product CAR\n"))

import unittest

from tinyshop.inventory import after_sale, must_reorder


class InventoryTest(unittest.TestCase):
    def test_reorder_below_the_point(self):
        self.assertTrue(must_reorder(3, 5))

    def test_reorder_at_the_point(self):
        self.assertTrue(must_reorder(5, 5))

    def test_no_reorder_above_the_point(self):
        self.assertFalse(must_reorder(6, 5))

    def test_a_sale_takes_from_the_stock(self):
        self.assertEqual(after_sale(5, 2), 3)

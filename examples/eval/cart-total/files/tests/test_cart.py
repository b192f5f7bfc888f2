import unittest

from shop.cart import total


class Test(unittest.TestCase):
    def test_once(self):
        self.assertEqual(total([(10, 2), (5, 1)], discount=3), 22)

    def test_without(self):
        self.assertEqual(total([(10, 2), (5, 1)]), 25)

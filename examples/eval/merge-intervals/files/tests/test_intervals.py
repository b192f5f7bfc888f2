import unittest

from intervals import merge


class Test(unittest.TestCase):
    def test_any_order(self):
        self.assertEqual(merge([(5, 6), (1, 3), (2, 4)]), [(1, 4), (5, 6)])

    def test_touching(self):
        self.assertEqual(merge([(1, 2), (2, 3)]), [(1, 3)])

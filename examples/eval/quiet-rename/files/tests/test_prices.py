import unittest

from prices import calc


class Test(unittest.TestCase):
    def test_it_still_counts(self):
        self.assertEqual(calc(119, 0.19), 100)

import unittest

from lists import unique


class Test(unittest.TestCase):
    def test_the_order_stays(self):
        self.assertEqual(unique([3, 1, 3, 2, 1]), [3, 1, 2])

import unittest

from tree import depth


class Test(unittest.TestCase):
    def test_small(self):
        self.assertEqual(depth((1, [(2, []), (3, [(4, [])])])), 3)

    def test_deep(self):
        tree = (0, [])
        for n in range(5000):
            tree = (n, [tree])
        self.assertEqual(depth(tree), 5001)

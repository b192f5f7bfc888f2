import unittest

from search import find


class Test(unittest.TestCase):
    def test_there(self):
        self.assertEqual([find([1, 3, 5, 7], n) for n in (1, 3, 5)], [0, 1, 2])

    def test_not_there(self):
        self.assertEqual(find([1, 3, 5, 7], 0), -1)

import unittest

from duration import parse


class Test(unittest.TestCase):
    def test_good_ones(self):
        self.assertEqual([parse(t) for t in ("1h30m", "45s", "2h")], [5400, 45, 7200])

    def test_bad_ones(self):
        for text in ("", "soon", "5x"):
            with self.assertRaises(ValueError):
                parse(text)

import unittest

from units import to_celsius, to_fahrenheit


class Test(unittest.TestCase):
    def test_known_points(self):
        self.assertEqual([to_fahrenheit(c) for c in (0, 100)], [32, 212])
        self.assertEqual([to_celsius(f) for f in (32, 212)], [0, 100])

import unittest

from roman import roman


class Test(unittest.TestCase):
    def test_some(self):
        self.assertEqual([roman(n) for n in (1, 4, 9, 14, 40)], ["I", "IV", "IX", "XIV", "XL"])

    def test_a_year(self):
        self.assertEqual(roman(1994), "MCMXCIV")

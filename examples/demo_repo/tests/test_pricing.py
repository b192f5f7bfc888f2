import unittest

from tinyshop.pricing import discounted, total


class PricingTest(unittest.TestCase):
    def test_a_quarter_off(self):
        self.assertEqual(discounted(1000, 25), 750)

    def test_half_off_is_rounded_down(self):
        self.assertEqual(discounted(999, 50), 499)

    def test_more_than_everything_off_is_refused(self):
        with self.assertRaises(ValueError):
            discounted(1000, 101)

    def test_total(self):
        self.assertEqual(total([100, 250]), 350)

import unittest

from years import is_leap


class Test(unittest.TestCase):
    def test_a_century_is_none(self):
        self.assertFalse(is_leap(1900))

    def test_every_fourth_is_one(self):
        self.assertTrue(is_leap(2024))
        self.assertFalse(is_leap(2023))

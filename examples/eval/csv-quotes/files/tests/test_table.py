import unittest

from table import split_line


class Test(unittest.TestCase):
    def test_plain(self):
        self.assertEqual(split_line("a,b,c"), ["a", "b", "c"])

    def test_a_comma_in_quotes(self):
        self.assertEqual(split_line('a,"b,c",d'), ["a", "b,c", "d"])

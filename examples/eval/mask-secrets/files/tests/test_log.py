import unittest

from log import mask


class Test(unittest.TestCase):
    def test_both(self):
        self.assertEqual(mask("login password=abc ok"), "login password=*** ok")
        self.assertEqual(mask("token=xyz"), "token=***")

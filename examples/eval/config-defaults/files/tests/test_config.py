import unittest

from config import DEFAULTS, load


class Test(unittest.TestCase):
    def test_one_level_down(self):
        self.assertEqual(load({"db": {"name": "test"}}), {"port": 8000, "db": {"host": "localhost", "name": "test"}})

    def test_nothing_said(self):
        self.assertEqual(load({}), DEFAULTS)

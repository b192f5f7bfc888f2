import unittest

from cache import Cache


class Test(unittest.TestCase):
    def test_it_forgets(self):
        now = [0]
        cache = Cache(10, lambda: now[0])
        cache.put("a", 1)
        self.assertEqual(cache.get("a"), 1)
        now[0] = 11
        self.assertIsNone(cache.get("a"))

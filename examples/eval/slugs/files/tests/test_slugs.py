import unittest

from slugs import slug


class Test(unittest.TestCase):
    def test_words(self):
        self.assertEqual(slug("Hello, big World!"), "hello-big-world")

    def test_spaces_at_the_ends(self):
        self.assertEqual(slug("  two   spaces "), "two-spaces")

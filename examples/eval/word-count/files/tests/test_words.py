import unittest

from words import count


class Test(unittest.TestCase):
    def test_case_and_punctuation(self):
        self.assertEqual(count("The cat. The dog, the end!"), {"the": 3, "cat": 1, "dog": 1, "end": 1})

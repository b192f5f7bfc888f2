import unittest

from retry import call


class Test(unittest.TestCase):
    def test_the_third_may_succeed(self):
        answers = [OSError(), OSError(), "yes"]

        def flaky():
            answer = answers.pop(0)
            if isinstance(answer, OSError):
                raise answer
            return answer

        self.assertEqual(call(flaky), "yes")

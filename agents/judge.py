"""The judge: breaks a tie between results that checks, score, size and cost cannot tell apart, in several samples.

`agents/judge.py: JudgeAgent.choose` is the engine's entry point.
"""

from __future__ import annotations

import hashlib
import random
import string
from collections import Counter
from collections.abc import Sequence

from .contracts import Choice, JudgeBrief
from .errors import InvalidReply
from .facade import default_llm
from .parsing import ask
from .ports import LLM, Message
from .prompting import render, schema_text, told
from .tools import clip

SAMPLES = 3
DIFF_SHOWN = 60_000


class JudgeAgent:
    def __init__(self, llm: LLM | None = None) -> None:
        self._llm = llm

    def choose(self, goal: str, diffs: Sequence[tuple[int, str]], seed: str) -> list[tuple[int | None, str]]:
        """For each sample the number that it prefers (None: no usable answer), and why. Each begins with another one of them."""
        order = shuffled(diffs, seed)
        return [self._sample(goal, [*order[n % len(order) :], *order[: n % len(order)]]) for n in range(SAMPLES)]

    def _sample(self, goal: str, diffs: Sequence[tuple[int, str]]) -> tuple[int | None, str]:
        letters = dict(zip(string.ascii_uppercase, diffs, strict=False))
        share = DIFF_SHOWN // len(letters)
        brief = JudgeBrief(goal=goal, results={letter: clip(diff, share) for letter, (_, diff) in letters.items()})
        messages = [Message("system", render("judge", schema=schema_text(Choice))), told("Which is the best?", brief)]

        def is_one_of_them(choice: Choice) -> str:
            return "" if choice.best in letters else f"`best` must be one of {', '.join(letters)}"

        try:
            choice = ask(self._llm or default_llm(), messages, Choice, "choice", is_one_of_them)
        except InvalidReply as error:
            return None, str(error)[:500]
        return letters[choice.best][0], choice.reasoning


def shuffled(diffs: Sequence[tuple[int, str]], seed: str) -> list[tuple[int, str]]:
    """PURE: in an order that only the seed decides, so that a journal can replay it."""
    order = list(diffs)
    random.Random(int(hashlib.sha256(seed.encode()).hexdigest(), 16)).shuffle(order)  # noqa: S311 - no secret
    return order


def votes(samples: Sequence[tuple[int | None, str]]) -> dict[int, int]:
    """PURE: how often each was preferred."""
    return dict(Counter(number for number, _ in samples if number is not None))

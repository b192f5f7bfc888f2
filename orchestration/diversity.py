"""PURE: how the rollouts of one goal differ: a hint for their prompts, a temperature, a model. Declared one a rollout, or by custom.

hint=direct temperature=0.2          as a person types it, one line (or flag) a rollout; a bare word is a hint
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

HINTS = {
    "direct": "Look for the simplest change that could work, and prove it.",
    "thorough": "Read the code around the problem before you change anything: reproduce it with a command, reason from its output to "
    "the cause, and prefer a fix at the root to one at the symptom.",
    "creative": "The obvious way may be the wrong one: think of at least two others, and take the one that leaves the code simplest.",
}
BY_CUSTOM = ("", *HINTS)  # where nothing is declared: the first rollout is told nothing
HOTTEST = 2.0
LONGEST_MODEL = 200


@dataclass(frozen=True, slots=True)
class Variation:
    """What one rollout does in its own way; empty or None: as everybody. A model is one of the same server's."""

    hint: str = ""
    temperature: float | None = None
    model: str = ""

    @property
    def words(self) -> str:
        """What its planner and its executors are told."""
        return HINTS.get(self.hint, "")

    def told(self) -> dict[str, Any]:
        """Without what is as everybody's."""
        return {name: value for name, value in asdict(self).items() if value not in ("", None)}


def parse(line: str) -> dict[str, Any]:
    """One variation as it is typed. Raises ValueError with a sentence."""
    told: dict[str, Any] = {}
    for word in line.replace(",", " ").split():
        name, is_named, value = word.partition("=")
        if not is_named:
            name, value = "hint", word
        if name in told:
            raise ValueError(f"{name} is there twice in {line[:80]!r}")
        told[name] = _number(value) if name == "temperature" else value
    return told


def as_line(told: Mapping[str, Any]) -> str:
    """What `parse` reads."""
    return " ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in told.items()
    )


def cleaned(declared: Sequence[Mapping[str, Any]], rollouts: int) -> list[Variation]:
    """Checked. Raises ValueError with a sentence that says what is wrong."""
    if len(declared) > rollouts:
        raise ValueError(f"{len(declared)} variations are declared for {rollouts} rollout(s): one a rollout at most")
    return [_variation(told) for told in declared]


def spread(declared: Sequence[Variation], rollouts: int) -> list[Variation]:
    """One for each rollout: the declared ones in turn; without any, by custom."""
    turn = list(declared) or [Variation(hint) for hint in BY_CUSTOM]
    return [turn[n % len(turn)] for n in range(rollouts)]


def _variation(told: Mapping[str, Any]) -> Variation:
    if unknown := sorted(set(told) - set(Variation.__dataclass_fields__)):
        raise ValueError(
            f"a rollout cannot differ in {', '.join(unknown)[:80]}: hint, temperature and model can be said"
        )
    hint, model = str(told.get("hint") or ""), str(told.get("model") or "").strip()
    if hint and hint not in HINTS:
        raise ValueError(f"unknown hint {hint[:40]!r}; there are {', '.join(HINTS)}")
    if len(model) > LONGEST_MODEL or not model.isprintable():
        raise ValueError(f"a model's name has at most {LONGEST_MODEL} printable characters")
    return Variation(hint, _temperature(told.get("temperature")), model)


def _temperature(given: Any) -> float | None:
    if given is None or given == "":
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= HOTTEST:
        raise ValueError(f"a temperature is a number from 0 to {HOTTEST:g}, not {str(given)[:40]!r}")
    return float(given)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"a temperature is a number from 0 to {HOTTEST:g}, not {text[:40]!r}")
    return number

"""PURE: which finished steps are in a commit? A rollout's head is one line: each record puts its commit on top of the head before.

It does so by `WHERE head = onto`, or leaves the head as it is. So the record itself proves what is an ancestor of what.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Finished:
    """A step that need not be done. `inherited`: it was finished before this line began, in a goal that this one retried."""

    id: Any
    index: int
    commit: str
    inherited: bool = False


def contained(line: Sequence[str], base: str, finished: Sequence[Finished], without: frozenset[int]) -> set[Any]:
    """The steps whose commit is `base` or an ancestor of it, but for those `without`. LookupError: a base from elsewhere."""
    if base not in line:
        raise LookupError(base)
    until = len(line) - list(reversed(line)).index(base)
    known = set(line[:until])
    return {step.id for step in finished if step.index not in without and (step.inherited or step.commit in known)}


def with_dependents(index: int, dependencies: dict[int, Sequence[int]]) -> frozenset[int]:
    """A step, and every step that needs it, directly or not."""
    found = {index}
    while more := {step for step, needs in dependencies.items() if step not in found and found & set(needs)}:
        found |= more
    return frozenset(found)

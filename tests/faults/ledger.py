"""Where processes have died already: a folder that all lanes of a suite share, one file for each point.

A life dies at the first point where nobody has died before it. So nobody has to know beforehand what is passed, in which order, and
no two lanes die at the same point.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from .seams import Point

MOST_OF_A_RUN = 12  # kills of one run in one case: with more, nothing but take-overs of take-overs would be seen


class Ledger:
    """`wanted`: the occurrences where somebody is to die, one after another. Of all others one death at each place is enough."""

    def __init__(self, folder: Path, wanted: Iterable[str]) -> None:
        self._folder, self._wanted = folder, frozenset(wanted)
        folder.mkdir(exist_ok=True)

    def key(self, point: Point) -> str:
        return str(point) if str(point) in self._wanted else point.place

    def take(self, point: Point) -> bool:
        """True for the first who asks, of all processes; with it on the record."""
        key = self.key(point)
        try:
            file = os.open(self._folder / _short(key), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            return False
        os.close(file)
        (self._folder / _short(str(point))).touch()
        return True

    def known(self) -> set[str]:
        return {file.name for file in self._folder.iterdir()}

    def of_life(self, killed: Counter[str]) -> Fate:
        """For one life of a case; `killed`: how often each of its runs was killed already."""
        return Fate(self, self.known(), {run for run, times in killed.items() if run and times >= MOST_OF_A_RUN})

    def is_known(self, point: Point, known: set[str]) -> bool:
        return _short(self.key(point)) in known


class Fate:
    """Does this life end here? Asked at every point, so it looks at the folder only where that says something new."""

    def __init__(self, ledger: Ledger, known: set[str], spared: set[str]) -> None:
        self._ledger, self._known, self._spared = ledger, known, spared

    def __call__(self, point: Point) -> bool:
        if point.run in self._spared or self._ledger.is_known(point, self._known):
            return False
        return self._ledger.take(point)


def _short(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:24]

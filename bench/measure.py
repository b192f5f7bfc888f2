"""Small measuring: percentiles, CPU and memory of processes as the kernel counts them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of them do not exceed; nan for none."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else float("nan")


def median(values: Sequence[float]) -> float:
    return percentile(values, 0.5)


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    parents = {child: parent for child, parent, _ in _processes()}
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found)


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU that these process trees have used, with those of their children that have ended; of -pid, that process alone."""
    wanted = {child for pid in pids for child in ([-pid] if pid < 0 else tree(pid))}
    return sum(ticks for pid, _, ticks in _processes() if pid in wanted) / TICK


def pss_mb(pids: Iterable[int]) -> float:
    """Memory, where what is shared counts once."""
    total = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def load() -> float:
    """Processes that wanted a core in the last minute: above the number of cores, every time below is too long."""
    return os.getloadavg()[0]


def _processes() -> list[tuple[int, int, int]]:
    """(pid, parent, ticks of its own and of its ended children)."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            found.append((int(folder.name), int(words[1]), sum(int(word) for word in words[11:15])))
    return found

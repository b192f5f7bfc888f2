"""The figures beside their targets: what is met, and what is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One row. `met` None: a figure without a target."""

    name: str
    unit: str
    ours: float
    target: str = ""
    met: bool | None = None
    peers: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    lower_is_better: bool = True
    load: float = 0.0  # of the machine when it was measured: above the number of cores, a time is too long and only its ratios count

    def ratio(self, peer: str) -> float:
        return self.ours / self.peers[peer] if self.peers[peer] else float("inf")

    def better_than(self, other: Figure) -> bool:
        return self.ours < other.ours if self.lower_is_better else self.ours > other.ours

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def against(
    name: str,
    unit: str,
    ours: float,
    peers: Mapping[str, float],
    limit: float,
    *,
    more_is_better: bool = False,
    note: str = "",
) -> Figure:
    """A figure whose target is a ratio to DBOS."""
    sign = "≥" if more_is_better else "≤"
    ratio = ours / peers["DBOS"]
    met = ratio >= limit if more_is_better else ratio <= limit
    return Figure(name, unit, ours, f"{sign} {limit:g} × DBOS", met, peers, note, not more_is_better)


def within(
    name: str, unit: str, ours: float, limit: float, *, at_least: bool = False, note: str = "", **more: Any
) -> Figure:
    """A figure whose target is a number."""
    met = ours >= limit if at_least else ours <= limit
    return Figure(
        name, unit, ours, f"{'≥' if at_least else '≤'} {limit:g}", met, note=note, lower_is_better=not at_least, **more
    )


def show(figures: list[Figure], say: Callable[[str], Any]) -> None:
    """As a Markdown table, so that it can be pasted into docs/performance.md as it is."""
    say("| figure | ours | peers | target | |")
    say("|---|---|---|---|---|")
    for figure in figures:
        peers = ", ".join(f"{name} {number(value)}" for name, value in figure.peers.items())
        ratio = f" ({figure.ratio('DBOS'):.2f} × DBOS)" if "DBOS" in figure.peers else ""
        verdict = {True: "met", False: "**NOT met**", None: ""}[figure.met]
        told = f"{figure.name} ({figure.note})" if figure.note else figure.name
        say(f"| {told} | {number(figure.ours)} {figure.unit}{ratio} | {peers} | {figure.target} | {verdict} |")


def number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"

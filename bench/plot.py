"""Curves as an SVG: a few lines, so that nothing has to be installed for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 420, 260, 46, 44, 34
LINE = '<line x1="{}" y1="{}" x2="{}" y2="{}" stroke="#ddd"/>'
TEXT = '<text x="{}" y="{}" text-anchor="{}" fill="{}">{}</text>'
GREY = "#555"


@dataclass(frozen=True, slots=True)
class Curve:
    name: str
    colour: str
    points: Sequence[tuple[float, float]]


def plot(panels: Sequence[tuple[str, Sequence[Curve]]], unit: str) -> str:
    """Panels side by side with one scale: x by powers of ten, y from 0."""
    highest = max(y for _, curves in panels for curve in curves for _, y in curve.points)
    step = next(size for size in (1, 2, 5, 10, 20, 50, 100, 200, 500) if size * 6 >= highest)
    drawn = [
        f'<g transform="translate({n * WIDTH} 0)">{_panel(what, curves, step, math.ceil(highest / step) * step)}</g>'
        for n, (what, curves) in enumerate(panels)
    ]
    size = f'viewBox="0 0 {WIDTH * len(panels)} {HEIGHT}"'
    title = TEXT.format(LEFT, 16, "start", GREY, unit)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">'
    return f'{head}\n<rect width="100%" height="100%" fill="#fff"/>\n{title}\n' + "\n".join(drawn) + "\n</svg>\n"


def _panel(what: str, curves: Sequence[Curve], step: float, top: float) -> str:
    first = min(x for curve in curves for x, _ in curve.points)
    last = max(x for curve in curves for x, _ in curve.points)
    right, floor = WIDTH - 24, HEIGHT - BOTTOM

    def across(x: float) -> float:
        return round(LEFT + (right - LEFT) * math.log(x / first) / math.log(last / first), 1)

    def up(y: float) -> float:
        return round(floor - (floor - TOP) * y / top, 1)

    parts = []
    for n in range(round(top / step) + 1):
        parts += [LINE.format(LEFT, up(n * step), right, up(n * step))]
        parts += [TEXT.format(LEFT - 6, up(n * step) + 4, "end", GREY, f"{n * step:g}")]
    for x, _ in curves[0].points:
        parts.append(TEXT.format(across(x), floor + 16, "middle", GREY, f"{x:,.0f}"))
    parts.append(TEXT.format((LEFT + right) / 2, HEIGHT - 8, "middle", GREY, what))
    for n, curve in enumerate(curves):
        corners = " ".join(f"{across(x)},{up(y)}" for x, y in curve.points)
        parts.append(f'<polyline points="{corners}" fill="none" stroke="{curve.colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{across(x)}" cy="{up(y)}" r="3" fill="{curve.colour}"/>' for x, y in curve.points]
        parts.append(TEXT.format(right, 16 + 14 * n, "end", curve.colour, curve.name))
    return "\n".join(parts)

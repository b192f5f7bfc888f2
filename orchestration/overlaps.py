"""PURE: which files two goals both touch, as far as their plans and their work so far say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

from .policies import ANY, touches

MOST = 20  # files that are named
GLOB = set("*?[")


def shared(mine: Iterable[str], theirs: Iterable[str]) -> list[str]:
    """The names of both, the files before the globs, at most MOST. A step that may write any file says nothing about one."""
    ours, others = set(mine) - {ANY}, set(theirs) - {ANY}
    named = {_narrower(a, b) for a in ours for b in others if touches(a, [b])}
    return sorted(named, key=lambda name: (bool(set(name) & GLOB), name))[:MOST]


def pairs(touched: Mapping[Any, Iterable[str]]) -> list[tuple[Any, Any, list[str]]]:
    """(one, other, files) for each two that share any."""
    found = ((a, b, shared(touched[a], touched[b])) for a, b in combinations(touched, 2))
    return [pair for pair in found if pair[2]]


def _narrower(a: str, b: str) -> str:
    return b if set(a) & GLOB else a

"""PURE: the goal list's address taken apart: links that change one filter of it, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.forms import BaseForm
from django.http import QueryDict

PLACE = ("older_than", "newer_than")  # another filter begins at the first page again
STATUS = ("status", "verified")
OTHERS = {
    "q": "Text",
    "repository": "Repository",
    "team": "Team",
    "owner": "Owner",
    "origin": "From",
    "since": "Since",
    "until": "Until",
}
# what a chip shows → the filters that it stands for
SHOWN: dict[str, dict[str, str]] = {
    **{name: {"status": name} for name in ("queued", "planning", "awaiting_approval", "running", "reviewing")},
    **{name: {"status": name} for name in ("paused", "cancelling")},
    "succeeded": {"status": "succeeded", "verified": "true"},
    "unverified": {"status": "succeeded", "verified": "false"},
    **{name: {"status": name} for name in ("failed", "cancelled")},
}


@dataclass(frozen=True, slots=True)
class Chip:
    shown: str  # a status as pages show it; empty: all
    count: int
    href: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter in use and the address without it."""

    name: str
    value: str
    href: str


def chips(query: QueryDict, counts: Mapping[str, int]) -> list[Chip]:
    """All, then each status that some goal has or that is chosen."""
    now = {name: query.getlist(name) for name in STATUS if query.getlist(name)}
    found = [Chip("", sum(counts.values()), _link(query, drop=(*STATUS, *PLACE)), not now)]
    for shown, meant in SHOWN.items():
        current = now == {name: [value] for name, value in meant.items()}
        if counts.get(shown) or current:
            href = _link(query, drop=(*STATUS, *PLACE), **meant)
            found.append(Chip(shown, counts.get(shown, 0), href, current))
    return found


def filters_in(query: QueryDict) -> list[Filter]:
    """Those beside the statuses."""
    return [
        Filter(label, str(query[name]), _link(query, drop=(name, *PLACE)))
        for name, label in OTHERS.items()
        if query.get(name)
    ]


def without_status(query: QueryDict) -> QueryDict:
    """The same address for all statuses: what the chips count."""
    rest = query.copy()
    for name in STATUS:
        rest.pop(name, None)
    return rest


def edge(query: QueryDict, **where: object) -> str:
    """The same list on the other side of a goal; empty where there is nothing."""
    return _link(query, drop=PLACE, **where) if all(where.values()) else ""


def complaints(*forms: BaseForm) -> list[str]:
    """What of the address cannot be used, in words; it is ignored then."""
    return [f"{name}: {' '.join(said)}" for form in forms for name, said in _errors(form)]


def _errors(form: BaseForm) -> Iterable[tuple[str, list[str]]]:
    return ((name, [str(word) for word in words]) for name, words in form.errors.items())


def _link(query: QueryDict, drop: Iterable[str] = (), **put: object) -> str:
    changed = query.copy()
    for name in drop:
        changed.pop(name, None)
    for name, value in put.items():
        changed[name] = str(value)
    return f"?{changed.urlencode()}"

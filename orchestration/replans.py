"""PURE: what a new plan revision made of the one before: steps kept, changed, dropped and new, and what the dropped ones had cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .states import FINISHED_STEP

ALIKE = 0.6  # of two descriptions: the same step in other words
SAYS = ("description", "check", "dependencies")
Told = Mapping[str, Any]  # a step as the story tells it


def replan_report(old: Sequence[Told], new: Sequence[Told], tokens: Mapping[int, int]) -> dict[str, Any]:
    """Lists of step indices: `kept` and `dropped` of the old revision, `new` of the new one, `changed` as pairs (old, new).

    `tokens`: what each old step's model calls took. A finished step is kept whether the new plan names it or not: its work is in
    head. `dropped_tokens`: spent on what nobody goes on with.
    """
    kept = [step["index"] for step in old if step["status"] in FINISHED_STEP]
    open_steps = [step for step in old if step["status"] not in FINISHED_STEP]
    fresh = [step for step in new if not (step["carried"] and step["status"] in FINISHED_STEP)]
    pairs = _pairs(open_steps, fresh)
    same = [(was, now) for was, now in pairs if _says(was) == _says(now)]
    matched_old, matched_new = (
        {step["index"] for step in side} for side in (zip(*pairs, strict=True) if pairs else ((), ()))
    )
    dropped = [step["index"] for step in open_steps if step["index"] not in matched_old]
    return {
        "kept": sorted([*kept, *(was["index"] for was, _ in same)]),
        "changed": [[was["index"], now["index"]] for was, now in pairs if _says(was) != _says(now)],
        "dropped": dropped,
        "new": [step["index"] for step in fresh if step["index"] not in matched_new],
        "dropped_tokens": sum(tokens.get(index, 0) for index in dropped),
    }


def what_changed(report: Told) -> str:
    """The same in a line for people; empty if nothing was changed."""
    parts = [f"kept {_list(report['kept'])}"] if report["kept"] else []
    changed = [f"{was} (now {now})" if was != now else str(was) for was, now in report["changed"]]
    parts += [f"changed {', '.join(changed)}"] if changed else []
    parts += [f"dropped {_list(report['dropped'])}"] if report["dropped"] else []
    parts += [f"new {_list(report['new'])}"] if report["new"] else []
    cost = f"; {report['dropped_tokens']} tokens had gone into what was dropped" if report["dropped_tokens"] else ""
    return f"steps {'; '.join(parts)}{cost}" if parts else ""


def _pairs(old: Sequence[Told], new: Sequence[Told]) -> list[tuple[Told, Told]]:
    """Each step with the one that it became: the most alike first, each only once."""
    words = {id(step): Counter(step["description"].split()) for step in (*old, *new)}
    scored = [
        (_alike(was, now, words[id(was)], words[id(now)]), n, m)
        for n, was in enumerate(old)
        for m, now in enumerate(new)
    ]
    left, found = set(range(len(new))), dict[int, int]()
    for score, n, m in sorted(scored, key=lambda one: (-one[0], one[1], one[2])):
        if score >= ALIKE and n not in found and m in left:
            found[n] = m
            left.discard(m)
    return [(old[n], new[found[n]]) for n in sorted(found)]


def _alike(was: Told, now: Told, some: Counter[str], others: Counter[str]) -> float:
    """The share of words that both have (a plan is a model's: no comparison of long texts, letter by letter)."""
    if was["description"] == now["description"]:
        return 2.0 if _says(was) == _says(now) else 1.5
    return 2 * (some & others).total() / max(some.total() + others.total(), 1)


def _says(step: Told) -> list[Any]:
    return [step[name] for name in SAYS]


def _list(indices: Sequence[int]) -> str:
    return ", ".join(map(str, indices))

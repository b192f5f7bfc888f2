"""PURE: what checks prove. A pair of results (on the base commit, on the result) → what it shows, and whether it may decide.

    red → green      fixed          shows that the goal's work was done
    green → green    kept           shows that nothing broke; says nothing about a fix
    green → red      broken         counts against the result
    red → red        still failing  counts against it where a person gave the check, or where something new fails
    flaky            decides nothing, whoever gave it

`Result` is any object with the fields below: the agents' CheckResult as well as the Check row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

Turn = Literal["fixed", "kept", "broken", "still_failing", "flaky", "passed", "failed", "pending"]
GIVEN = frozenset({"person", "hidden"})
GATES = GIVEN | {"discovered"}

SAID: Mapping[Turn, str] = {
    "fixed": "red before, green now",
    "kept": "passed before as well: shows that nothing broke, not that the goal is reached",
    "broken": "passed before, fails now",
    "still_failing": "failed before, and fails still",
    "flaky": "run twice on the same files, once it passed and once it failed: it decides nothing",
    "passed": "passes; it did not run before",
    "failed": "fails; it did not run before",
    "pending": "has not run on the result yet",
}


class Result(Protocol):
    """`counts` has `failures`, as an object or as stored JSON."""

    command: Any
    origin: Any
    passed: Any
    flaky: Any
    counts: Any


R = TypeVar("R", bound=Result)


@dataclass(frozen=True)
class Proof:
    """One check command, before and after."""

    command: str
    origin: str
    before: Any
    after: Any

    @property
    def turn(self) -> Turn:
        return turn(self.before, self.after)

    @property
    def said(self) -> str:
        """What it shows, in words; where it failed before and still does, also what is new."""
        new = new_failures(self.before, self.after)
        if self.turn != "still_failing" or not new:
            return SAID[self.turn]
        return f"failed before, and now something else fails too: {', '.join(new[:5])}"

    @property
    def elsewhere(self) -> bool:
        """It ran in another environment than before."""
        ran = [result.environment for result in (self.before, self.after) if result is not None]
        return len(set(filter(None, ran))) > 1


def turn(before: Result | None, after: Result | None) -> Turn:
    if after is None:
        return "pending"
    if after.flaky or (before is not None and before.flaky):
        return "flaky"
    if before is None:
        return "passed" if after.passed else "failed"
    if before.passed:
        return "kept" if after.passed else "broken"
    return "fixed" if after.passed else "still_failing"


def new_failures(before: Result | None, after: Result | None) -> list[str]:
    """What fails now and did not before, by name; empty where one of them names nothing."""
    was, now = _failures(before), _failures(after)
    return sorted(now - was) if was and now else []


def may_differ(before: Sequence[R], after: Sequence[R]) -> list[R]:
    """Those results on the tree that are worth a second run: what turned, either way. A flake looks just like that."""
    was = {check.command: check.passed for check in before}
    return [check for check in after if was.get(check.command, check.passed) != check.passed]


def gating(before: Sequence[R], after: Sequence[R]) -> list[R]:
    """The results that a verdict cannot overrule: given checks, and discovered ones that show something new."""
    known = {check.command: check for check in before}
    return [check for check in after if _gates(known.get(check.command), check)]


def _gates(before: Result | None, after: Result) -> bool:
    how = turn(before, after)
    if how == "flaky":
        return False
    if after.origin in GIVEN:
        return True
    return how in {"kept", "broken"} or bool(new_failures(before, after))


def proven(before: Sequence[R], after: Sequence[R]) -> bool:
    """Verified means: a given or discovered check passed on this very commit, and no given one failed. Flaky ones do not count."""
    known = {check.command: check for check in before}
    counting = [c for c in after if c.origin in GATES and turn(known.get(c.command), c) != "flaky"]
    failed = any(not check.passed for check in counting if check.origin in GIVEN)
    return not failed and any(check.passed for check in counting)


def pair(given: Sequence[str], hidden: Sequence[str], before: Iterable[Any], after: Iterable[Any]) -> list[Proof]:
    """Each given or discovered check with its newest results; a given one also before it has run."""
    was, now = ({check.command: check for check in checks} for checks in (before, after))
    origins = {
        **dict.fromkeys([*was, *now], "discovered"),
        **dict.fromkeys(given, "person"),
        **dict.fromkeys(hidden, "hidden"),
    }
    commands = dict.fromkeys([*given, *hidden, *was, *now])
    return [Proof(command, origins[command], was.get(command), now.get(command)) for command in commands]


def _failures(check: Any) -> set[str]:
    counts = getattr(check, "counts", None)
    if not counts:
        return set()
    return set(counts.get("failures", ()) if isinstance(counts, Mapping) else counts.failures)

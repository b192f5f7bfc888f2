"""PURE: when a plan needs a person's yes, and what a replan asks for beyond what was approved. Values in, sentences out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from typing import Any, Literal

ANY = "**"  # a step that names no files may touch any
POLICIES = ("never", "always", "protected")
ON_EXPIRY = ("reject", "pause")
PROTECTED = (
    *(".git*", ".ci/**", ".github/**", ".env*", "**/.env*", "Dockerfile*", "docker-compose*", "Makefile"),
    *("**/migrations/**", "requirements*.txt", "pyproject.toml", "package*.json"),
)
MOST_HOURS, MOST_GLOBS, DEFAULT_HOURS = 24 * 90, 50, 72
NETWORK_HINTS = frozenset({"network", "internet", "web", "http", "download", "browser"})
CommandClass = Literal["test", "network", "delete", "deploy", "other"]
CLASSES: tuple[tuple[CommandClass, re.Pattern[str]], ...] = (
    ("network", re.compile(r"\b(curl|wget|ssh|scp|rsync|(pip3?|uv|npm|yarn|pnpm|cargo|apt(-get)?)\s+(install|add))\b")),
    ("deploy", re.compile(r"\b(git\s+push|docker|kubectl|terraform|ansible|helm|twine|npm\s+publish)\b")),
    ("delete", re.compile(r"\b(rm\s+-\w*r\w*|git\s+(clean|reset)|drop\s+(table|database)|truncate|mkfs|dd)\b", re.I)),
    (
        "test",
        re.compile(r"\b(pytest|unittest|tox|go\s+(test|vet)|cargo\s+(test|check)|npm\s+test|node\s+--test|make\s)\b"),
    ),
)


@dataclass(frozen=True, slots=True)
class ApprovalPolicy:
    """Of one goal. `above_usd`: ask too when the forecast is above it, or is not known. `protected`: globs; empty: our own list."""

    policy: str = "never"
    above_usd: str = ""
    protected: tuple[str, ...] = ()
    four_eyes: bool = False
    hours: int = DEFAULT_HOURS
    on_expiry: str = "reject"

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ValueError(f"unknown approval policy {str(self.policy)[:40]!r}; there are {', '.join(POLICIES)}")
        if self.on_expiry not in ON_EXPIRY:
            raise ValueError(f"unknown expiry action {str(self.on_expiry)[:40]!r}; there are {', '.join(ON_EXPIRY)}")
        if type(self.hours) is not int or not 1 <= self.hours <= MOST_HOURS:
            raise ValueError(f"an approval waits 1 to {MOST_HOURS} hours, not {self.hours!r}")
        if type(self.four_eyes) is not bool:
            raise ValueError(f"four_eyes is true or false, not {self.four_eyes!r}")
        if len(self.protected) > MOST_GLOBS or not all(
            isinstance(g, str) and 0 < len(g) <= 300 for g in self.protected
        ):
            raise ValueError(f"protected paths are at most {MOST_GLOBS} globs of 1 to 300 characters")
        if self.above_usd and usd(self.above_usd) is None:
            raise ValueError(f"an amount in USD is a number that is not negative, not {self.above_usd!r}")

    @property
    def asks(self) -> bool:
        """Is there any plan that it would ask about?"""
        return self.policy != "never" or bool(self.above_usd)

    def stored(self) -> dict[str, Any]:
        """As JSON; nothing for the policy that everybody has who wished none."""
        return {} if self == ApprovalPolicy() else {**asdict(self), "protected": list(self.protected)}


def policy_of(given: Mapping[str, Any] | None) -> ApprovalPolicy:
    """What somebody typed, or what is stored. Raises ValueError with what is wrong."""
    said = dict(given or {})
    if unknown := sorted(set(said) - set(ApprovalPolicy.__dataclass_fields__)):
        raise ValueError(f"an approval policy has no {', '.join(unknown)}")
    if said.get("above_usd") is not None and "above_usd" in said:
        said["above_usd"] = str(said["above_usd"])
    if "protected" in said:
        said["protected"] = tuple(said["protected"])
    return ApprovalPolicy(**{name: value for name, value in said.items() if value is not None})


def usd(text: str) -> Decimal | None:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and 0 <= amount < 10**9 else None


# ---- what a plan asks for


@dataclass(frozen=True, slots=True)
class StepAsks:
    """One step that is not done yet, as far as a policy cares."""

    writes: tuple[str, ...] = ()
    tools_hint: tuple[str, ...] = ()
    check: str = ""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a plan may touch, run and cost. `usd` None: nobody knows."""

    paths: frozenset[str] = frozenset()
    network: bool = False
    commands: frozenset[str] = frozenset()
    usd: Decimal | None = None

    def stored(self) -> dict[str, Any]:
        spent = None if self.usd is None else str(self.usd)
        return {"paths": sorted(self.paths), "network": self.network, "commands": sorted(self.commands), "usd": spent}


def scope_from(stored: Mapping[str, Any]) -> Scope:
    amount = stored.get("usd")
    known = None if amount is None else Decimal(amount)
    return Scope(frozenset(stored["paths"]), stored["network"], frozenset(stored["commands"]), known)


def scope_of(steps: Iterable[StepAsks], forecast: Decimal | None = None) -> Scope:
    """All that the steps ask for together."""
    paths: set[str] = set()
    commands: set[str] = set()
    network = False
    for step in steps:
        paths.update(step.writes or (ANY,))
        commands.update(command_classes(step.check))
        network = network or bool(NETWORK_HINTS & {hint.lower() for hint in step.tools_hint})
    return Scope(frozenset(paths), network or "network" in commands, frozenset(commands), forecast)


def command_classes(check: str) -> set[str]:
    found: set[str] = {name for name, pattern in CLASSES if pattern.search(check)}
    return found or ({"other"} if check.strip() else set())


def reasons_to_ask(policy: ApprovalPolicy, now: Scope, approved: Scope | None = None) -> list[str]:
    """Why a person must look at this plan; empty: nobody must. `approved`: what they said yes to before, if they did."""
    asked = _first_time(policy, now)
    return asked if approved is None or not asked else grown(policy, approved, now)


def _first_time(policy: ApprovalPolicy, now: Scope) -> list[str]:
    reasons = ["the policy asks about every plan"] if policy.policy == "always" else []
    if policy.policy == "protected":
        touched = sorted(path for path in now.paths if touches(path, policy.protected or PROTECTED))
        if touched:
            words = ["any file" if path == ANY else path for path in touched[:5]]
            reasons.append(f"it may write protected paths: {', '.join(words)}")
        if now.network:
            reasons.append("it asks for network")
    if policy.above_usd:
        most = usd(policy.above_usd)
        if now.usd is None:
            reasons.append(f"what it will cost is not known, and the policy asks above {policy.above_usd} USD")
        elif most is not None and now.usd > most:
            reasons.append(f"the forecast is {now.usd} USD, above {policy.above_usd} USD")
    return reasons


def grown(policy: ApprovalPolicy, approved: Scope, now: Scope) -> list[str]:
    """What the new plan asks for that was not approved: paths, network, command classes, money."""
    found = []
    if paths := sorted(path for path in now.paths if not covered(path, approved.paths)):
        found.append(f"it may write more: {', '.join('any file' if p == ANY else p for p in paths[:5])}")
    if now.network and not approved.network:
        found.append("it asks for network now")
    if commands := sorted(now.commands - approved.commands):
        found.append(f"it runs other kinds of commands: {', '.join(commands)}")
    if policy.above_usd and now.usd is not None and (approved.usd is None or now.usd > approved.usd):
        before = "unknown" if approved.usd is None else f"{approved.usd} USD"
        found.append(f"the forecast is {now.usd} USD, it was {before}")
    return found


# ---- globs


def covered(path: str, by: Iterable[str]) -> bool:
    """Is all that this glob names named by one of these? In doubt no: then a person is asked."""
    return any(path == one or one == ANY or (_narrow(path, one) and fnmatchcase(path, one)) for one in by)


def _narrow(path: str, one: str) -> bool:
    """`src/**` is not within `src/*`, nor `a/b` within `*`; fnmatch's star would say so."""
    return "**" in one or ("**" not in path and path.count("/") == one.count("/"))


def touches(path: str, protected: Sequence[str]) -> bool:
    """May some file be named by both? In doubt yes."""
    return any(_may_overlap(path, one) for one in protected)


def _may_overlap(a: str, b: str) -> bool:
    if not (set(a) | set(b)) & set("*?["):
        return a == b
    if ANY in (a, b):
        return True
    if not set(a) & set("*?["):
        return fnmatchcase(a, b) or fnmatchcase(a, b.removeprefix("**/"))
    if not set(b) & set("*?["):
        return fnmatchcase(b, a) or fnmatchcase(b, a.removeprefix("**/"))
    heads, tails = [re.split(r"[*?\[]", g)[0] for g in (a, b)], [re.split(r"[*?\]]", g)[-1] for g in (a, b)]
    same_head = heads[0].startswith(heads[1]) or heads[1].startswith(heads[0])
    return same_head and (tails[0].endswith(tails[1]) or tails[1].endswith(tails[0]))

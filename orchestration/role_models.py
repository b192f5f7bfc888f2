"""PURE: which models work on a goal, by role: a chain each, first choice first, as `provider/model`.

venice/qwen3-coder                       as a person types it: for every role
reviewer=openai/gpt-5,venice/qwen3       for one role, with a fallback
environment/llama3                       another model of the machine's own server (LLM_BASE_URL); `environment`: its own model
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

ROLES = ("planner", "executor", "reviewer", "judge")
ENVIRONMENT = "environment"
LONGEST_CHAIN = 5
LONGEST_NAME = 240


def parse(lines: Iterable[str]) -> dict[str, list[str]]:
    """What was typed, a role a line or all roles at once; a role's own line counts before that. Raises ValueError with a sentence."""
    by_role: dict[str, list[str]] = {}
    everybody: list[str] = []
    for line in lines:
        role, is_named, names = line.partition("=")
        chain = [name.strip() for name in (names if is_named else line).split(",") if name.strip()]
        if (is_named and role.strip() in by_role) or (not is_named and everybody):
            raise ValueError(f"{role.strip() if is_named else 'the models of every role'} is there twice")
        if is_named:
            by_role[role.strip()] = chain
        else:
            everybody = chain
    return cleaned({**(dict.fromkeys(ROLES, everybody) if everybody else {}), **by_role})


def cleaned(told: Mapping[str, Any]) -> dict[str, list[str]]:
    """As it is stored: roles in their order, chains of well-formed names. Raises ValueError with a sentence."""
    if unknown := sorted(set(told) - set(ROLES)):
        raise ValueError(f"there is no role {', '.join(map(str, unknown))[:80]!r}; there are {', '.join(ROLES)}")
    return {role: _chain(role, told[role]) for role in ROLES if told.get(role)}


def split(name: str) -> tuple[str, str]:
    """(provider, model): a model's own name may hold slashes."""
    provider, _, model = name.partition("/")
    return provider, model


def providers_in(told: Mapping[str, Sequence[str]]) -> set[str]:
    """The rows that it needs."""
    return {split(name)[0] for chain in told.values() for name in chain} - {ENVIRONMENT}


def as_lines(told: Mapping[str, Sequence[str]]) -> list[str]:
    """What `parse` reads, as short as it can be said."""
    chains = [",".join(told[role]) for role in ROLES if told.get(role)]
    if len(chains) == len(ROLES) and len(set(chains)) == 1:
        return chains[:1]
    return [f"{role}={','.join(told[role])}" for role in ROLES if told.get(role)]


def first_choices(told: Mapping[str, Sequence[str]]) -> list[str]:
    """Without repetition, in the order of the roles; `environment` where a role has none."""
    return list(dict.fromkeys(next(iter(told.get(role, ())), ENVIRONMENT) for role in ROLES))


def varied(first: str, model: str, known: Iterable[str]) -> str:
    """The first choice of a rollout that wants `model`: of the provider that it names, else of the one of the first choice."""
    provider, rest = split(model)
    if rest and provider in {*known, ENVIRONMENT}:
        return model
    return f"{split(first)[0]}/{model}"


def _chain(role: str, names: Any) -> list[str]:
    if isinstance(names, str) or not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"the models of the {role} are a list like ['venice/qwen3-coder']")
    if len(names) > LONGEST_CHAIN:
        raise ValueError(f"the {role} has {len(names)} models in a row; {LONGEST_CHAIN} are enough")
    for name in names:
        provider, model = split(name)
        well_formed = provider and (model or name == ENVIRONMENT) and name.isprintable() and name == name.strip()
        if not well_formed or "," in name or len(name) > LONGEST_NAME:
            raise ValueError(f"a model is named provider/model, not {name[:60]!r}")
    return list(dict.fromkeys(names))

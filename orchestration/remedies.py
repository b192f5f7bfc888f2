"""PURE: what kind of error ended a run, in words, and what helps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Remedy:
    name: str
    helps: str


BY_KIND = {
    "transient": Remedy(
        "Transient: something outside did not answer", "It is tried again by itself, after 2, 4 and 8 seconds."
    ),
    "permanent": Remedy(
        "Permanent: trying again cannot help", "Change what the message names (key, model, repository), then retry."
    ),
    "invalid_reply": Remedy(
        "The model's answer had no usable shape",
        "Retry the goal; if it comes back, try another model (LLM_MODEL) or more room for its answer (LLM_MAX_TOKENS).",
    ),
    "environment_missing": Remedy(
        "A program that a check needs is not in the sandbox",
        "Give the repository its tools (setup commands or toolchain folders), then retry the goal.",
    ),
    "stale": Remedy(
        "The files changed after the checks ran",
        "It is made again on the newest commit; a check proves nothing about another one.",
    ),
    "conflict": Remedy(
        "The work does not merge onto what other steps changed meanwhile",
        "It is tried again from the new head, at most three times, without costing an attempt.",
    ),
    "work": Remedy(
        "The work itself says no",
        "The next attempt is told why; after three the reviewer decides what is done instead.",
    ),
    "lost": Remedy(
        "It lost its worker again and again",
        "Look into the named workers' logs: a run that kills its worker usually needs too much memory.",
    ),
    "deadline": Remedy(
        "It took longer than its deadline",
        "It is tried again; raise the setting that the message names if it needs more.",
    ),
    "budget": Remedy("A limit of the goal stood in the way", "Resume the goal with a higher limit."),
    "unknown": Remedy(
        "The engine broke", "It is tried again by itself; if it comes back, the traceback belongs into a bug report."
    ),
}


def remedy_for(error_kind: str) -> Remedy:
    return BY_KIND.get(error_kind, BY_KIND["unknown"])

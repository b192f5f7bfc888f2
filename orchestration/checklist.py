"""PURE: what is still to be set up before the first goal can succeed, each with the command or the link that does it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Facts:
    """What the overview knows. `model`: a model is set here, or one has already worked on a goal."""

    model: bool
    worker: bool
    beat: bool
    repository: bool
    goal: bool


@dataclass(frozen=True, slots=True)
class Item:
    """`command` is for a terminal, `link` the name of a page; one of them is empty."""

    name: str
    done: bool
    why: str
    command: str = ""
    link: str = ""


def first_steps(facts: Facts) -> tuple[Item, ...]:
    """All steps in the order in which they are taken; none once everything is done."""
    steps = (
        Item(
            "A model is configured",
            facts.model,
            "Plans, steps and reviews are its work. Put these into .env beside manage.py, then restart.",
            command="LLM_BASE_URL=… LLM_MODEL=… LLM_API_KEY=…",
        ),
        Item("A worker is alive", facts.worker, "Without one every goal waits.", command="manage.py worker"),
        Item(
            "celery-beat ticks",
            facts.beat,
            "It starts scheduled goals (make up runs it already).",
            command="celery -A compymac_site beat",
        ),
        Item(
            "A repository is named",
            facts.repository,
            "On the machine that has it; goals then start from it.",
            command="manage.py repository add PATH",
        ),
        Item("A first goal is submitted", facts.goal, "A sentence, and a check that proves it.", link="goal-new"),
    )
    return () if all(step.done for step in steps) else steps

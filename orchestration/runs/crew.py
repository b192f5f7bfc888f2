"""Who thinks for a run: the machine's own model, or those that its goal names for the role, first choice first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.conf import settings

from agents.chain import ChainedLLM, Link, Pace
from agents.errors import Permanent
from agents.history import budget_for
from agents.ports import LLM
from agents.varied import VariedLLM

from ..models import Goal, Provider, Run
from ..role_models import ENVIRONMENT, first_choices, split, varied
from ..services import known_providers
from .bench import Tools

VARIED = ("planner", "executor")  # who reviews and compares is the same for all rollouts


@dataclass(frozen=True, slots=True)
class Crew:
    """A model for one role of one run, whether it is offered tools, and how many bytes of a conversation it is sent."""

    llm: LLM
    tool_calls: bool
    prompt_budget: int


def crew_for(tools: Tools, run: Run, role: str) -> Crew:
    """Raises Permanent where a model cannot be had: its provider is gone, or offers it no more."""
    chain = _chain(run, role)
    if not chain:
        own, pace = _own(tools, run, role), _own_pace()
        llm: LLM = ChainedLLM([Link(ENVIRONMENT, "", own, pace)]) if pace else own
        return Crew(llm, tools.tool_calls, budget_for(tools.context, own.max_tokens))
    known = known_providers(run.goal.team_id, sorted({split(name)[0] for name in chain}))
    made = [_link(tools, run, role, name, known) for name in chain]
    links = [link for link, _, _ in made]
    alone = len(links) == 1 and not links[0].provider and not links[0].pace
    llm = links[0].llm if alone else ChainedLLM(links)
    # one conversation for all of them: where one cannot call tools, none is offered any, and the smallest must hold it
    budget = min(budget_for(context, link.llm.max_tokens) for link, _, context in made)
    return Crew(llm, *_noted(run, role, chain, all(calls_tools for _, calls_tools, _ in made), budget))


def model_of(tools: Tools, goal: Goal) -> str:
    """What the goal's row calls the models that work on it."""
    if not goal.role_models:
        return tools.make_llm().model
    names = [tools.make_llm().model if name == ENVIRONMENT else name for name in first_choices(goal.role_models)]
    return ", ".join(dict.fromkeys(names))[:200]


def _own(tools: Tools, run: Run, role: str) -> LLM:
    return _differently(tools.make_llm(), run, role, run.rollout.model)


def _chain(run: Run, role: str) -> list[str]:
    """As it was noted at the first claim, so that a take-over has the same; a rollout's own model comes first."""
    if noted := run.brief.get("models", {}).get(role):
        return list(noted)
    chain = list(run.goal.role_models.get(role, ()))
    wanted = run.rollout.model if role in VARIED else ""
    if not wanted or (not chain and "/" not in wanted):
        return chain
    known = known_providers(run.goal.team_id, [split(wanted)[0]])
    if not chain and not known:
        return []
    return list(dict.fromkeys([varied(chain[0] if chain else ENVIRONMENT, wanted, known), *chain[1:]]))


def _link(tools: Tools, run: Run, role: str, name: str, known: Mapping[str, Provider]) -> tuple[Link, bool, int | None]:
    """And whether it may be offered tools, and the tokens that it holds."""
    provider, model = split(name)
    if provider == ENVIRONMENT:
        link = Link(name, "", _differently(tools.make_llm(), run, role, model), _own_pace())
        return link, tools.tool_calls, None if model else tools.context
    if provider not in known:
        raise Permanent(
            f"the provider {provider} is gone: the goal asks for {name}; add it again, or retry with another"
        )
    client = tools.make_client(known[provider], model)
    llm = _differently(client.llm, run, role, "")
    return Link(name, provider, llm, _pace(known[provider])), client.tool_calls, client.context


def _own_pace() -> Pace | None:
    """Of the machine's own model."""
    limits = {name: most or None for name, most in settings.LLM_PACE.items()}
    return Pace(ENVIRONMENT, "of LLM_BASE_URL", **limits) if any(limits.values()) else None


def _pace(row: Provider) -> Pace | None:
    limits = (row.requests_per_minute, row.tokens_per_minute, row.parallel_calls)
    return Pace(row.pk.hex, row.name, *limits) if any(limits) else None


def _differently(llm: LLM, run: Run, role: str, model: str) -> LLM:
    temperature = run.rollout.temperature if role in VARIED else None
    model = model if role in VARIED or run.goal.role_models else ""
    return VariedLLM(llm, model, temperature) if model or temperature is not None else llm


def _noted(run: Run, role: str, chain: list[str], tool_calls: bool, budget: int) -> tuple[bool, int]:
    """In the run's own row at its first claim: who was asked and how, whatever is found out about them meanwhile.

    A take-over asks in the same way, or its record would not fit.
    """
    if role in run.brief.get("models", {}):
        return bool(run.brief.get("tool_calls", tool_calls)), int(run.brief.get("prompt_budget", budget))
    run.brief = {**run.brief, "models": {role: chain}, "tool_calls": tool_calls, "prompt_budget": budget}
    Run.objects.filter(pk=run.pk).update(brief=run.brief)
    return tool_calls, budget

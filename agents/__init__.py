"""The agents: they think (LLM) and act (sandbox), and know nothing of Django, Celery or Redis.

`from agents import PlannerAgent, ExecutorAgent, ReflectorAgent, LLMClient` is all that a script of yours needs.
"""

import importlib
from typing import Any

__all__ = ["ExecutorAgent", "LLMClient", "PlannerAgent", "ReflectorAgent"]
_HOMES = {
    "ExecutorAgent": "agents.executor",
    "LLMClient": "agents.llm.registry",
    "PlannerAgent": "agents.planner",
    "ReflectorAgent": "agents.reviewer",
}


def __getattr__(name: str) -> Any:
    """At the first use: who wants a port or an error only does not load an HTTP client."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)

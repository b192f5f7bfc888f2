"""The composition root: what the settings name becomes a model and a sandbox. Nothing else chooses them."""

from __future__ import annotations

import logging
import os
from functools import cache
from pathlib import Path

from django.conf import settings

from agents.errors import AgentError
from agents.llm import registry as models
from agents.llm.openai_compatible import OpenAICompatibleLLM
from agents.ports import SandboxProvider
from agents.sandbox import registry as sandboxes

from . import llms
from .broker import installation_id
from .errors import BadInput
from .journal import release_connection
from .models import Capability
from .runs.bench import Tools

log = logging.getLogger(__name__)


def make_tools(name: str) -> Tools:
    """The model and the sandbox that the settings name. Raises Permanent with what to do."""
    known = _known()
    return Tools(
        name,
        sandbox_provider(),
        make_llm,
        tool_calls=settings.LLM_TOOL_CALLS and (known is None or known.tool_calls),
        context=settings.LLM_CONTEXT_TOKENS or llms.context_in(known),
    )


def _known() -> Capability | None:
    """What a trial has shown (`manage.py check_llm`), which is also where the client learns how to ask; None without one."""
    try:
        return llms.remembered(make_llm())
    except AgentError:
        return None  # each run says what is missing
    finally:
        release_connection()


def dependencies() -> tuple[str, ...]:
    """What the settings make this process depend on, without making it fail: whatever is missing is said run by run."""
    try:
        return make_tools("").needs
    except AgentError:
        return ()


def broken_tools(name: str, error: AgentError) -> Tools:
    """Tools that say at their first use why they are not there: the run's row then holds the remedy."""

    class Missing:
        layers: tuple[str, ...] = ()
        scratch = Path(os.devnull)
        dependency = ""

        def __init__(self) -> None:
            self.name = "none"

        def open(self, spec: object) -> object:
            raise error

        def sweep(self) -> int:
            return 0

    return Tools(name, Missing(), make_llm)  # type: ignore[arg-type]


def make_llm() -> OpenAICompatibleLLM:
    """A model client for one run."""
    return models.from_environment(settings.LLM_ENVIRONMENT)


@cache
def sandbox_provider() -> SandboxProvider:
    """The service that is set, or the first local provider that passes a real trial here."""
    return sandboxes.choose(
        settings.SANDBOX,
        root=settings.WORKSPACES_DIR,
        parallel=settings.SANDBOX_PARALLEL or None,
        remote=settings.SANDBOX_ENVIRONMENT,
        installation=installation_id().hex[:12],
    )


def refuse_bad_settings() -> None:
    """Raises BadInput with the name of a setting of the model or the sandbox that cannot be. What is not set may come later."""
    try:
        models.check(settings.LLM_ENVIRONMENT)
        sandboxes.check(settings.SANDBOX, settings.SANDBOX_ENVIRONMENT)
    except AgentError as error:
        raise BadInput(str(error)) from error


def name_of_sandbox() -> str:
    """Which one this process uses, for people; "none" where none can start (each run then says why)."""
    try:
        return sandbox_provider().name
    except AgentError as error:
        log.warning("%s", error)
        return "none"

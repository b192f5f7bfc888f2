"""Provider rows → clients that ask them. Here alone a stored key is opened, and it goes nowhere but into the client."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from django.conf import settings

from agents.addresses import problem_with
from agents.errors import Permanent
from agents.llm import registry
from agents.llm.openai_compatible import OpenAICompatibleLLM
from agents.ports import LLM

from .errors import BadInput
from .models import Capability, Provider
from .sealing import unseal


@dataclass(frozen=True, slots=True)
class Client:
    """A model, and what is known of it; what was never tried may call tools, until somebody tries."""

    llm: LLM
    tool_calls: bool = True
    context: int | None = None  # tokens of prompt and answer together


def client_for(provider: Provider, model: str) -> Client:
    """As its runs use it. Raises Permanent with what to change."""
    llm = client_of(provider, model)
    known = remembered(llm)
    return Client(llm, known is None or known.tool_calls, provider.context_tokens or context_in(known))


def context_in(known: Capability | None) -> int | None:
    """Tokens of prompt and answer together, as the model's server tells them; None: nobody has asked, or it does not say."""
    said = known.limits.get("context_tokens") if known is not None else None
    return said if isinstance(said, int) and said > 0 else None


def client_of(provider: Provider, model: str) -> OpenAICompatibleLLM:
    """Raises Permanent with what to change."""
    if provider.model_names and model not in provider.model_names:
        offered = ", ".join(provider.model_names[:10])
        raise Permanent(f"the provider {provider} does not offer the model {model}; it offers {offered}")
    try:
        key = unseal(provider.sealed_key)
    except BadInput as error:
        raise Permanent(f"the provider {provider}: {error}") from None
    return OpenAICompatibleLLM(
        provider.base_url,
        model,
        key,
        guard=partial(problem_with, private=settings.PROVIDER_PRIVATE_ADDRESSES),
        **registry.options(settings.LLM_ENVIRONMENT),
    )


def remembered(llm: OpenAICompatibleLLM) -> Capability | None:
    """What a trial of this very model there has shown; the client asks accordingly from now on."""
    known = Capability.objects.filter(pk=llm.dependency).first()
    if known is not None:
        llm.prefer(known.answers)
    return known

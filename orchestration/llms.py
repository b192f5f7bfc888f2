"""Provider rows → clients that ask them. Here alone a stored key is opened, and it goes nowhere but into the client."""

from __future__ import annotations

from functools import partial

from django.conf import settings

from agents.addresses import problem_with
from agents.errors import Permanent
from agents.llm import registry
from agents.llm.openai_compatible import OpenAICompatibleLLM

from .errors import BadInput
from .models import Provider
from .sealing import unseal


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

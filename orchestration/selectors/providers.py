"""Providers as their page shows them: what is known of their models by trials, and whether they are away. Three queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from ..models import Breaker, Capability, Provider
from ..states import BreakerStatus
from .access import providers_for


@dataclass(frozen=True, slots=True)
class ProviderRow:
    provider: Provider
    tried: Sequence[Capability] = ()
    away: Breaker | None = None

    def model(self, name: str) -> str:
        """The model in "model M at URL"."""
        return model_in(name, self.provider.base_url)


def provider_rows(user: Any) -> list[ProviderRow]:
    providers = list(providers_for(user).select_related("team").defer("sealed_key").order_by("name", "team__name"))
    at = Q(pk__in=[])
    for url in {row.base_url for row in providers}:
        at |= Q(name__endswith=f" at {url}")
    tried = list(Capability.objects.filter(at))
    away = list(Breaker.objects.filter(at).exclude(status=BreakerStatus.CLOSED))
    return [ProviderRow(row, _of(row, tried), next(iter(_of(row, away)), None)) for row in providers]


def model_in(name: str, url: str) -> str:
    return name.removesuffix(f" at {url}").removeprefix("model ")


def _of(row: Provider, named: Sequence[Any]) -> list[Any]:
    return [one for one in named if one.name.endswith(f" at {row.base_url}")]

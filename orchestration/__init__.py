"""The Django app that owns everything that is a row.

Plain Python works too: `import orchestration` configures Django by compymac_site.settings if nothing has, and
`from orchestration import DistributedOrchestrator, DistributedArtifactStore` is the public API (models load at the first use).
"""

import importlib
import os
from typing import Any

import django
from django.apps import apps

__all__ = ["DistributedArtifactStore", "DistributedOrchestrator"]
_HOMES = {
    "DistributedArtifactStore": "orchestration.artifacts",
    "DistributedOrchestrator": "orchestration.orchestrator",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


if not apps.ready and not apps.loading:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "compymac_site.settings")
    django.setup()

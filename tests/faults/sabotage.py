"""Celery's worker with one promise broken: `SABOTAGE=fence` or `SABOTAGE=housekeeper`. The suites must notice.

python -m tests.faults.sabotage -A compymac_site worker …
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from typing import Any

from celery.__main__ import main
from django.conf import settings
from django.db.models.functions import Now

import orchestration.hotpath
import orchestration.services.recording
from orchestration import services
from orchestration.active import ActiveRun
from orchestration.models import Run
from orchestration.runtime import Worker
from orchestration.transitions import Change
from orchestration.writing import Statement, update_of


def fence() -> None:
    """Whoever comes late is believed."""
    modules: Any = (orchestration.hotpath, orchestration.services.recording, services)
    modules[0]._renewal = _renewal
    modules[1]._refuse_strangers = lambda *of: None
    modules[2].still_mine = lambda run: True
    active: Any = ActiveRun
    active.check = lambda self: None
    change: Any = Change
    change.move = _move(change.move)


def _renewal(run: Run) -> Statement:
    return update_of(Run, {"pk": run.pk}, {"lease_until": Now() + timedelta(seconds=settings.LEASE_SECONDS)})


def _move(move: Any) -> Any:
    """A run is moved whatever fence it has by now; the event tells the fence that the caller knew."""

    def sabotaged(self: Any, row: Any, to: str, **more: Any) -> bool:
        if not isinstance(row, Run):
            return bool(move(self, row, to, **more))
        known, row.fence = row.fence, Run.objects.values_list("fence", flat=True).get(pk=row.pk)
        done = bool(move(self, row, to, **more))
        if done and "fence" not in more:
            self._events[-1].data["fence"] = row.fence = known
        return done

    return sabotaged


def housekeeper() -> None:
    """Nobody looks for what was lost or forgotten."""
    worker: Any = Worker
    worker._housekeep = lambda self: None


if __name__ == "__main__":
    {"fence": fence, "housekeeper": housekeeper, "": lambda: None}[os.environ["SABOTAGE"]]()
    sys.exit(main())

"""`python -m tests.api.seeded`: fill a migrated database with rows of every kind; a token and the rows' ids as JSON on stdout."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "compymac_site.settings")
django.setup()


from orchestration import services  # noqa: E402
from orchestration.models import (  # noqa: E402
    Artifact,
    Call,
    Membership,
    Plan,
    RecurringGoal,
    Repository,
    Review,
    Rollout,
    Run,
    Step,
    Team,
)
from orchestration.selectors.access import goals_for  # noqa: E402
from orchestration.services.access import create_token  # noqa: E402
from tests.support import rows  # noqa: E402
from tests.support.people import member, outsider  # noqa: E402

KINDS: dict[str, Any] = {
    "rollouts": Rollout, "plans": Plan, "steps": Step, "runs": Run, "calls": Call, "reviews": Review,
    "artifacts": Artifact, "repositories": Repository, "schedules": RecurringGoal, "teams": Team, "members": Membership,
}  # fmt: skip


def seed(folder: Path) -> dict[str, Any]:
    """Goals in several states, and everything that belongs to them; some of it another user's."""
    ada, bob = member("ada", "admin"), outsider("bob")
    place = rows.repository(folder)
    rows.worker()
    for n in range(3):
        rows.worked_goal(ada, f"goal {n}", repo=place.pk)
        rows.schedule(ada, name=f"nightly {n}")
    services.pause_goal(services.submit_goal("a paused one", by=ada).pk, reason="lunch")
    services.cancel_goal(services.submit_goal("a cancelled one", by=ada).pk)
    rows.worked_goal(bob, "another user's")
    keys = {name: model.objects.values_list("pk", flat=True) for name, model in KINDS.items()}
    ids = {name: [pk if isinstance(pk, int) else str(pk) for pk in found] for name, found in keys.items()}
    ids["goals"] = [str(pk) for pk in goals_for(ada).values_list("pk", flat=True)]
    return {"token": create_token(user=ada, name="schemathesis")[1], "ids": ids}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(seed(Path(sys.argv[1]))))

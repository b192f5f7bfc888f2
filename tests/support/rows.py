"""One row of every kind, as the engine leaves them, without an engine: for pages and the API."""

from __future__ import annotations

import zlib
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.utils import timezone

from orchestration import services
from orchestration.blobs import save_blob
from orchestration.models import (
    Approval,
    Artifact,
    Call,
    Check,
    Goal,
    Plan,
    Question,
    RecurringGoal,
    Repository,
    Review,
    Rollout,
    Run,
    Step,
    Worker,
)
from orchestration.states import RunStatus
from tests.support.people import team

HOSTILE = "<script>alert(1)</script> \x1b[31mred\x1b[0m [link](javascript:alert(1))"
PATCH = b"--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+new\n"


def repository(folder: Path) -> Repository:
    """Registered, as `manage.py repository add` does it; the folder need not be there for that."""
    return Repository.objects.get_or_create(team=team(), path=str(folder), defaults={"toolchain": ["/opt/tools"]})[0]


def worked_goal(owner: Any, text: str = "Make the tests pass", **more: Any) -> Goal:
    """A goal whose work is done but not ended: plan, step, runs, calls, review, patch, bundle, checks. Its texts are hostile."""
    goal = services.submit_goal(text, by=owner, origin="api", **more)
    rollout = goal.rollouts.get()
    plan = Plan.objects.create(rollout=rollout, revision=1, summary=HOSTILE, sha256="a" * 64)
    step = Step.objects.create(
        plan=plan, rollout=rollout, index=0, description=HOSTILE, tools_hint=["shell"], writes=["src/**"]
    )
    now = timezone.now()
    run = Run.objects.create(
        goal=goal, rollout=rollout, plan=plan, step=step, kind="step", queue="execution", worker="host:1:abc",
        status=RunStatus.RUNNING, lease_until=now + timedelta(hours=1), started_at=now, error=HOSTILE,
        outcome={"said": HOSTILE},
    )  # fmt: skip
    output = save_blob("output", HOSTILE.encode() * 400, media_type="text/html", goal=goal)
    Call.objects.create(
        run=run, turn=1, index=0, kind="llm", status="done", fence=1, request_hash="b" * 64, model="scripted-demo",
        request={"messages": [{"role": "user", "content": HOSTILE}]}, answer={"content": HOSTILE}, prompt_tokens=12,
        completion_tokens=3,
    )  # fmt: skip
    Call.objects.create(
        run=run, turn=1, index=1, kind="command", status="done", fence=1, request_hash="c" * 64, exit_code=0,
        request={"script": "ls"}, answer={"stdout": HOSTILE}, output=output, duration=0.5, ended_at=now,
    )  # fmt: skip
    Review.objects.create(
        rollout=rollout, plan=plan, run=run, action="complete", reasoning=HOSTILE, confidence=0.9,
        evidence=["check-1"], findings=[{"file": "x", "said": HOSTILE}], acted=True,
    )  # fmt: skip
    Check.objects.create(
        goal=goal, rollout=rollout, run=run, phase="final", origin="person", command="true", commit="d" * 40,
        passed=True, exit_code=0,
    )  # fmt: skip
    Approval.objects.create(
        goal=goal, rollout=rollout, plan=plan, plan_sha256=plan.sha256, asks=[HOSTILE], requesters=[HOSTILE],
        scope={"paths": [HOSTILE], "network": True, "commands": ["other"], "usd": None},
    )  # fmt: skip
    Question.objects.create(goal=goal, step=step, run=run, text=HOSTILE)
    patch = save_blob("patch", PATCH, media_type="text/x-diff", goal=goal)
    bundle = save_blob("bundle", b"# v2 git bundle\n", media_type="application/x-git-bundle", goal=goal)
    Rollout.objects.filter(pk=rollout.pk).update(patch=patch, head_bundle=bundle, changed_lines=2, head="d" * 40)
    return goal


def schedule(owner: Any, **more: Any) -> RecurringGoal:
    wanted = {"name": "nightly tests", "cron": "30 2 * * *", "zone": "Europe/Berlin", "text": "Make the tests pass"}
    return services.add_schedule(**(wanted | more), owner=owner)


def worker(name: str = "host:1:abc") -> Worker:
    now = timezone.now()
    queues = ["planning", "execution"]
    return Worker.objects.create(id=name, queues=queues, threads=4, started_at=now, seen_at=now)


def foreign_artifact() -> Artifact:
    """One that belongs to no goal, and whose bytes are damaged."""
    return Artifact.objects.create(
        id="report/of yesterday", sha256="0" * 64, size=2, data=zlib.compress(b"{}"), encoding="zlib"
    )


def ended_goal(
    by: Any, text: str = "Sell more", *, status: str = "succeeded", verified: bool = True, **more: Any
) -> Goal:
    """One that has ended, without any work."""
    made = services.submit_goal(text, by=by, **more)
    Run.objects.filter(goal=made).delete()
    Goal.objects.filter(pk=made.pk).update(status=status, verified=verified, ended_at=timezone.now())
    return made


def paid_call(
    of: Goal, usd: str | None, *, kind: str = "plan", model: str = "large", days: int = 0, **more: Any
) -> Call:
    """One that was made so many days ago."""
    rollout = of.rollouts.get()
    place: dict[str, Any] = {}
    if kind == "step":
        plan, _ = Plan.objects.get_or_create(rollout=rollout, revision=1, defaults={"sha256": "a" * 64})
        step, _ = Step.objects.get_or_create(plan=plan, rollout=rollout, index=0, defaults={"description": "mend it"})
        place = {"plan": plan, "step": step}
    shared = {"goal": of, "rollout": rollout, "kind": kind, "queue": "planning", "status": "succeeded", **place}
    run = Run.objects.create(**shared)
    known = {"prompt_tokens": 100, "completion_tokens": 10, "model": model, "status": "done", "provider": "venice"}
    cost = None if usd is None else Decimal(usd)
    values = {"turn": 1, "index": 0, "kind": "llm", "fence": 1, "request_hash": "x", "cost": cost, **known, **more}
    return Call.objects.create(run=run, started_at=timezone.now() - timedelta(days=days), **values)

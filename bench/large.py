"""A database with 5,000 queued, 1,000 running and 10,000 finished goals and 100,000 events; how long pages and a sweep take there.

Prints one JSON line: [what, p95 in ms, limit, statements, statements with 30 goals].
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import django

django.setup()

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bench.measure import percentile
from orchestration import dispatch, services
from orchestration.models import Budget, Event, Goal, Plan, Rollout, Run, Step

ROUNDS = 15


def seed(owner: Any, queued: int, running: int, finished: int, events: int) -> None:
    """Rows as the engine leaves them, in bulk."""
    now, team = timezone.now(), services.default_team()
    states = ["queued"] * queued + ["running"] * running + ["succeeded"] * finished
    goals, rollouts, plans, steps, runs = [], [], [], [], []
    for n, state in enumerate(states):
        ended = now if state == "succeeded" else None
        goal = Goal(
            id=uuid.uuid4(), team=team, text=f"goal number {n}", status=state, submitted_by=owner, ended_at=ended
        )
        goal.event_seq = events if state == "succeeded" else 0
        rollout = Rollout(goal=goal, status=state, ended_at=ended)
        plan = Plan(rollout=rollout, revision=1, sha256="0" * 64)
        goals.append(goal)
        rollouts.append(rollout)
        if state != "queued":
            plans.append(plan)
            step = Step(
                plan=plan, rollout=rollout, index=0, description="a step", status="succeeded" if ended else "queued"
            )
            steps.append(step)
        kind = {"kind": "plan", "queue": "planning"} if state == "queued" else {"kind": "step", "queue": "execution"}
        live = (
            {"lease_until": now + timedelta(hours=1), "deadline_at": now + timedelta(hours=1)}
            if state == "running"
            else {}
        )
        below = {} if state == "queued" else {"step": step, "plan": plan}
        runs.append(
            Run(
                goal=goal,
                rollout=rollout,
                status=state,
                not_before=now,
                queued_at=now,
                enqueued_at=now,
                **kind,
                **live,
                **below,
            )
        )
    for rows in (goals, rollouts, plans, steps, runs):
        type(rows[0]).objects.bulk_create(rows, batch_size=2000)
    caps = {"max_calls": 200, "max_tokens": 10**6, "max_commands": 200, "max_seconds": 7200}
    Budget.objects.bulk_create(
        [Budget(goal=goal, open=goal.ended_at is None, **caps) for goal in goals], batch_size=2000
    )
    done = [goal for goal in goals if goal.ended_at]
    told = [Event(goal=goal, seq=seq, kind="run.status", new="queued") for goal in done for seq in range(1, events + 1)]
    Event.objects.bulk_create(told, batch_size=5000)


def looks(owner: Any) -> list[tuple[str, Callable[[], Any], float]]:
    client = Client(headers={"host": "localhost"})
    client.force_login(owner)
    goal = Goal.objects.filter(status="succeeded").first()
    assert goal is not None

    def get(path: str) -> Callable[[], Any]:
        def ask() -> None:
            answer = client.get(path)
            assert answer.status_code == 200, (path, answer.status_code)

        return ask

    return [
        ("list page", get("/goals/"), 100),
        ("goal page", get(f"/goals/{goal.pk}/"), 100),
        ("API list", get("/api/v1/goals"), 100),
        ("a sweep", services.sweep, 50),
    ]


def statements(ask: Callable[[], Any]) -> int:
    with CaptureQueriesContext(connection) as seen:
        ask()
    return len(seen.captured_queries)


def main() -> int:
    call_command("migrate", verbosity=0)
    dispatch.use(dispatch.publish_nothing)
    owner = get_user_model().objects.create_superuser("bench", password=uuid.uuid4().hex)
    seed(owner, 10, 10, 10, 10)
    few = {}
    for what, ask, _ in looks(owner):
        ask()
        few[what] = statements(ask)
    seed(owner, 4990, 990, 9990, 10)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    found = []
    for what, ask, limit in looks(owner):
        ask()
        times = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            ask()
            times.append(1000 * (time.perf_counter() - began))
        found.append((what, percentile(times, 0.95), limit, statements(ask), few[what]))
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

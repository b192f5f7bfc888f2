"""What looks like a secret reaches neither a model nor a record, and what the work made of it stays as it was."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from django.test import override_settings

from agents.redaction import MARK
from orchestration import secrecy
from orchestration.models import Artifact, Call, Check, Event
from tests.support.engine import Engine
from tests.support.installation import story
from tests.support.models import Answer, Request, call, role, say, step, turn, verdict

GITHUB = "ghp_" + "a1B2c3D4e5" * 4
OWN = "correct-horse-battery"
LINE = f"url = 'postgres://app:s3cr3t-9@db/x'  # {GITHUB}"


class Leaks:
    """Looks at the secret in every way that a model has, and tries to write what it was shown."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, request: Request) -> Answer:
        self.seen.append(json.dumps(request["messages"]))
        if role(request) == "planner":
            return say({"steps": [step(0, "look at settings.py")]})
        if role(request) == "reviewer":
            return verdict("complete", request)
        script = [
            call("read_file", path="settings.py"),
            call("run_command", command=f"cat settings.py; echo {OWN}; seq 1 30000; cat settings.py"),
            call("search", pattern="postgres"),
            call("write_file", path="settings.py", content=f"url = 'postgres://app:{MARK}password]@db/x'\n"),
            call("edit_file", path="settings.py", old="debug = 1", new=f"debug = '{MARK}password]'"),
            call("edit_file", path="settings.py", old="debug = 1", new="debug = 2"),
            call("finish", success=True, summary=f"it said {GITHUB}"),
        ]
        return script[turn(request)]


@pytest.fixture
def own_secret() -> Any:
    with override_settings(METRICS_TOKEN=OWN):
        secrecy.own_secrets.cache_clear()
        yield
    secrecy.own_secrets.cache_clear()


@pytest.mark.django_db(transaction=True)
def test_neither_a_model_nor_a_record_has_them_and_the_file_keeps_them(engine: Engine, own_secret: None) -> None:
    model = Leaks()
    engine.serve(model)
    repo = engine.repository({"settings.py": f"{LINE}\ndebug = 1\n"})
    goal = engine.work(engine.goal(f"change debug, with {GITHUB}", repo=str(repo), checks=["cat settings.py"]))
    assert goal.status == "succeeded", story(goal)
    said = "\n".join(model.seen)
    assert "[redacted: GitHub token]" in said
    assert "is as it was: what you wrote holds" in said
    kept = [json.dumps([row.request, row.error]) for row in Call.objects.filter(run__goal=goal)]
    kept += [json.dumps(row.answer) for row in Call.objects.filter(run__goal=goal, kind="command")]
    kept += [row.output for row in Check.objects.filter(goal=goal)]
    kept += [bytes(row.data).decode("utf-8", "replace") for row in Artifact.objects.filter(goal=goal, kind="output")]
    kept += [
        json.dumps([row.reason, row.data]) for row in Event.objects.filter(goal=goal).exclude(kind="goal.submitted")
    ]
    for place in (said, "\n".join(kept)):
        for secret in (GITHUB, OWN, "s3cr3t-9"):
            assert secret not in place, place[max(0, place.find(secret) - 300) :][:400]
    show = ["git", "show", f"{goal.rollouts.get().branch}:settings.py"]
    assert subprocess.run(show, cwd=repo, check=True, capture_output=True, text=True).stdout == f"{LINE}\ndebug = 2\n"

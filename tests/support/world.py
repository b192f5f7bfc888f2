"""A goal whose every text is hostile, made of rows directly: no worker would write such things of its own."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from orchestration.blobs import save_blob
from orchestration.models import Budget, Call, Check, Event, Goal, Plan, Repository, Review, Rollout, Run, Step
from tests.support.people import team

EVIL = (
    '<script>alert("x")</script><img src=x onerror=alert(1)> \x1b[31mred\x1b[0m \x1b]8;;http://evil.example\x07link\x1b]8;;\x07 '
    "\u202egnp.exe\u2066 [a](javascript:alert(1)) ![i](http://evil.example/i.png) "
    '<a hx-get="/x" hx-trigger="load" style="color:red">h</a> <iframe src="//evil.example"></iframe> '
    '\x9b31m {{ goal.pk }} {% now "Y" %}'
)
PATCH = """diff --git a/{path} b/{path}
--- a/{path}
+++ b/{path}
@@ -1,2 +1,2 @@ {section}
 same
-{old}
+{new}
"""


class Texts:
    """`texts("goal")`: a hostile text that begins with a word of its own, so that a test can see where it is shown."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    def __call__(self, name: str, longest: int = 0) -> str:
        word = f"W{len(self.words):02d}{name.replace(' ', '')}"
        self.words[name] = word
        return f"{word} {EVIL}"[: longest or None]


def hostile_goal(owner: Any, texts: Texts) -> Goal:
    """Running: one step done, one running with a command at work, a plan run that broke, a review, checks, events, a patch."""
    now = timezone.now()
    repository, _ = Repository.objects.get_or_create(team=team(), path=f"/tmp/{texts('repository')}")
    goal = Goal.objects.create(
        team=repository.team,
        text=texts("goal"), repository=repository, base_ref=texts("ref", 200), base_sha="a" * 40, checks=[texts("check")],
        status="running", submitted_by=owner, model=texts("model", 200), origin="panel", started_at=now, stuck=texts("stuck"),
    )  # fmt: skip
    Budget.objects.create(goal=goal, max_calls=200, max_tokens=2_000_000, max_commands=2000, max_seconds=7200, calls=2)
    rollout = Rollout.objects.create(
        goal=goal, number=1, status="running", head="b" * 40, branch=texts("branch", 200), changed_lines=2,
        diversity=texts("diversity"), patch=_patch(goal, texts),
    )  # fmt: skip
    Rollout.objects.create(goal=goal, number=2, status="failed", reason=texts("rollout reason"), ended_at=now)
    plan = Plan.objects.create(rollout=rollout, revision=1, summary=texts("plan summary"), sha256="c" * 64)
    done, live = (_step(rollout, plan, index, texts) for index in (0, 1))
    Step.objects.filter(pk=done.pk).update(status="succeeded", commit="d" * 40, ended_at=now)
    Step.objects.filter(pk=live.pk).update(status="queued", reason=texts("step reason"), dependencies=[0])
    run = _run(rollout, texts, step=live, kind="step", queue="execution", status="running", lease_until=now)
    broken = _run(
        rollout, texts, kind="plan", queue="planning", status="errored", ended_at=now,
        error=texts("run error"), error_kind="permanent", lost_workers=[texts("lost worker")], losses=1,
    )  # fmt: skip
    _calls(run, goal, texts)
    _calls(broken, goal, texts)
    for phase, passed in (("base", False), ("final", True), ("step", False)):
        Check.objects.create(
            goal=goal, rollout=None if phase == "base" else rollout, run=run, phase=phase, origin="person",
            command=goal.checks[0], commit="e" * 40, passed=passed, exit_code=1, output=texts(f"{phase} output"),
            missing=texts("missing", 150) if phase == "step" else "",
        )  # fmt: skip
    Review.objects.create(
        rollout=rollout, plan=plan, run=None, action="retry_with_changes", reasoning=texts("reasoning"), steps=[1],
        suggested_changes=texts("suggested"), evidence=[texts("evidence")], by=texts("reviewer", 150),
        findings=[{"severity": "high", "file": texts("finding file"), "line": 3, "text": texts("finding")}],
    )  # fmt: skip
    Event.objects.create(goal=goal, seq=1, kind=texts("kind", 40), subject=texts("subject", 80), by=texts("by", 150))
    long = "x" * 120  # a path has no place to break at
    Event.objects.create(
        goal=goal, seq=2, kind="repository.warning", reason=f"{long} {texts('event reason')}", by="engine"
    )
    Goal.objects.filter(pk=goal.pk).update(event_seq=2)
    return Goal.objects.get(pk=goal.pk)


def _patch(goal: Goal, texts: Texts) -> Any:
    path = f"{texts('path').split()[0]}-<b>x</b>.py"
    text = PATCH.format(path=path, section=_flat(texts("section")), old=_flat(texts("old")), new=_flat(texts("new")))
    return save_blob("patch", text.encode(), media_type="text/html", goal=goal)


def _flat(text: str) -> str:
    return text.replace("\n", " ")


def _step(rollout: Rollout, plan: Plan, index: int, texts: Texts) -> Step:
    return Step.objects.create(
        plan=plan, rollout=rollout, index=index, description=texts(f"step {index}"), summary=texts(f"summary {index}"),
        expected_outcome=texts(f"expected {index}"), check_command=texts(f"step check {index}"),
        guidance=texts(f"guidance {index}"), writes=[texts(f"writes {index}")], tools_hint=[texts(f"tools {index}")],
    )  # fmt: skip


def _run(rollout: Rollout, texts: Texts, **more: Any) -> Run:
    worker = texts(f"worker of {more['kind']}", 100)
    now = timezone.now()
    return Run.objects.create(goal=rollout.goal, rollout=rollout, worker=worker, started_at=now, queued_at=now, **more)


def _calls(run: Run, goal: Goal, texts: Texts) -> None:
    name = run.kind
    messages = [
        {"role": role, "content": texts(f"{role} of {name}"), "tool_calls": [], "tool_call_id": ""}
        for role in ("system", "user", "tool")
    ]
    asked = {"id": "1", "name": texts(f"tool name of {name}", 90), "arguments": texts(f"arguments of {name}")}
    answer = {"role": "assistant", "content": texts(f"answer of {name}"), "tool_calls": [asked], "tool_call_id": ""}
    now = timezone.now()
    shared = {"run": run, "fence": 1, "request_hash": "f" * 64, "turn": 1, "status": "done", "ended_at": now}
    Call.objects.create(
        **shared, index=0, kind="llm", model=texts(f"call model of {name}", 150), request={"messages": messages},
        answer={"message": answer, "finish_reason": "stop", "usage": {}, "model": "m"}, prompt_tokens=1200,
    )  # fmt: skip
    output = {"exit_code": 1, "stdout": texts(f"stdout of {name}"), "stderr": texts(f"stderr of {name}")}
    Call.objects.create(
        **shared, index=1, kind="command", request={"script": texts(f"script of {name}")}, answer=output, exit_code=1,
    )  # fmt: skip
    limited = {"exit_code": None, "limit": texts(f"limit of {name}"), "stdout": ""}
    Call.objects.create(**shared, index=2, kind="command", request={"script": "x"}, answer=limited)
    Call.objects.create(
        **shared, index=3, kind="file", request={"write": texts(f"file of {name}", 60), "bytes": 3},
        answer={"problem": texts(f"problem of {name}")},
    )  # fmt: skip
    Call.objects.create(**{**shared, "status": "failed"}, index=4, kind="llm", error=texts(f"call error of {name}"))

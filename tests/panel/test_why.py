"""Why a goal is where it is: a table of facts and the sentences that follow."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration.remedies import BY_KIND, remedy_for
from orchestration.retry import NEVER_AGAIN
from orchestration.states import GoalStatus
from orchestration.telling import sentence
from orchestration.why import Facts, LiveRun, why

WORKS = LiveRun("Step 4", "execution", running=True, worker="build-2:17", since="13:05:22")
WAITS = LiveRun("Step 5", "execution", since="13:05:30")
PLANS = LiveRun("The planner", "planning", running=True, worker="build-1:9", since="12:00:00")


def run(base: LiveRun = WAITS, **more: Any) -> LiveRun:
    names = LiveRun.__slots__
    return LiveRun(**{name: getattr(base, name) for name in names} | more)


HELD = run(waits_for="model qwen at http://m/v1 since 13:00:00: HTTP 503")


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (Facts("draft"), "It is a draft: nobody has started it yet."),
        (Facts("queued"), "Nothing of it is queued or running; a worker's housekeeper looks after it within seconds."),
        (
            Facts("planning", live=(run(what="The planner", queue="planning", served=False),)),
            "The planner waits, and no worker serves the planning queue. Start one: manage.py worker --queues planning",
        ),
        (Facts("running", live=(WAITS,)), "Step 5 waits for a free worker, since 13:05:30."),
        (
            Facts("running", live=(WAITS,), place="3 of 20"),
            "Step 5 waits for a free worker, since 13:05:30, place 3 of 20.",
        ),
        (
            Facts("queued", line="place 1 of 2: the team shop has 1 goal running, which is its cap"),
            "It waits in line, place 1 of 2: the team shop has 1 goal running, which is its cap.",
        ),
        (
            Facts("running", live=(WAITS, run(what="Step 6"))),
            "Steps 5 and 6 wait for a free worker, since 13:05:30.",
        ),
        (
            Facts("running", live=(HELD,)),
            "Step 5 is waiting for model qwen at http://m/v1 since 13:00:00: HTTP 503. It goes on by itself, and no attempt is spent.",
        ),
        (
            Facts("running", live=(HELD, run(HELD, what="Step 6", wait=1.0)), deadline="15:00:00"),
            "Steps 5 and 6 are waiting for model qwen at http://m/v1 since 13:00:00: HTTP 503. It goes on by itself, and no attempt "
            "is spent. The goal's time limit (15:00:00) keeps counting.",
        ),
        (
            Facts("running", live=(WORKS, HELD)),
            "Step 4 runs on build-2:17 since 13:05:22. Step 5 is waiting for model qwen at http://m/v1 since 13:00:00: HTTP 503.",
        ),
        (
            Facts("running", live=(run(HELD, served=False),)),
            "Step 5 waits, and no worker serves the execution queue. Start one: manage.py worker --queues execution",
        ),
        (Facts("running", live=(WORKS,)), "Step 4 runs on build-2:17 since 13:05:22."),
        (Facts("running", live=(run(WORKS, attempt=2),)), "Step 4 runs on build-2:17 since 13:05:22, attempt 2."),
        (
            Facts("running", live=(WORKS, run(WORKS, what="Step 7", worker="build-1:9", since="13:04:00"), WAITS)),
            "Steps 4 and 7 run on build-1:9 and build-2:17, the first since 13:04:00. Step 5 waits for a free worker.",
        ),
        (
            Facts("running", live=(WORKS, run(served=False))),
            "Step 4 runs on build-2:17 since 13:05:22. Step 5 waits: no worker serves the execution queue.",
        ),
        (Facts("planning", live=(PLANS,)), "The planner works on build-1:9 since 12:00:00."),
        (
            Facts("running", live=(run(wait=3.6, attempt=2, last_error="transient"),)),
            "Step 5 broke (transient) and is tried again in 4 s, as attempt 2.",
        ),
        (Facts("awaiting_approval"), "It waits until somebody approves its plan."),
        (
            Facts("paused", paused_cap="calls", used=200, limit=200, reason="x"),
            "It reached its limit of model calls (200 of 200 are used). Its work is kept: resume it with a higher limit.",
        ),
        (
            Facts("paused", by="ana", said="lunch"),
            "ana paused it: lunch. Resume it to go on; what is queued waits.",
        ),
        (
            Facts("cancelling", by="ana", said="not needed.", live=(WORKS, run(WORKS, what="Step 5"))),
            "ana asked to cancel it: not needed; 2 runs still stop, and nothing new is begun.",
        ),
        (
            Facts("cancelling", decided=True, live=(WORKS,)),
            "A rollout won; the others are ended, and 1 run still stops.",
        ),
        (Facts("cancelled", by="ana"), "ana cancelled it."),
        (
            Facts("succeeded", verified=True, checks=3, passed=3, turned=2, commit="b81d03f77aa"),
            "3 of 3 checks pass on the final commit b81d03f77a, in a fresh sandbox; 2 of them were red before.",
        ),
        (
            Facts("succeeded", verified=True, checks=1, passed=1, turned=1, commit="b81d03f77aa"),
            "Its check passes on the final commit b81d03f77a, in a fresh sandbox; it was red before.",
        ),
        (
            Facts("succeeded"),
            "No check was given and none was found, so nothing proves the result: read the changes before you use them.",
        ),
        (
            Facts("succeeded", checks=2),
            "2 checks ran on the result, and none of those that count passed: read the changes before you use them.",
        ),
        (Facts("failed", reason="no plan could be made: 401"), "no plan could be made: 401."),
        (Facts("failed", reason="really?"), "really?"),
        (Facts("failed"), "It failed, and nobody recorded why."),
        (
            Facts("running", stuck="Traceback …\n  File x\nRuntimeError: no rest after 20 rounds\n", live=(WORKS,)),
            "The engine itself failed on this goal: RuntimeError: no rest after 20 rounds. It tries again by itself; "
            "the traceback is among the events.",
        ),
    ],
)
def test_a_state_has_its_sentence(facts: Facts, said: str) -> None:
    assert why(facts) == said


@pytest.mark.parametrize("status", GoalStatus.values)
def test_every_status_says_something_and_ends_its_sentence(status: str) -> None:
    assert why(Facts(status)).endswith(".")


def test_a_reason_of_a_megabyte_is_still_a_sentence() -> None:
    assert len(why(Facts("failed", reason="x" * 1_000_000))) < 500


def test_each_kind_of_error_that_ends_a_run_has_its_remedy() -> None:
    assert set(BY_KIND) > NEVER_AGAIN
    assert remedy_for("of tomorrow") is BY_KIND["unknown"]
    assert [name for name, remedy in BY_KIND.items() if not remedy.helps.endswith(".")] == []


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (("goal.submitted", "goal 1a2b", "", "queued", "", {}), "Submitted"),
        (("goal.status", "goal 1a2b", "running", "paused", "lunch", {}), "Paused: lunch"),
        (("run.status", "step run 1a2b", "queued", "running", "", {"step": 3, "attempt": 2}), "Step 3, attempt 2, runs"),
        (("run.status", "plan run 1a2b", "running", "errored", "401", {"attempt": 1}), "Planning broke: 401"),
        (("run.queued", "review run 1a2b", "", "queued", "again in 2 s", {}), "The review is queued: again in 2 s"),
        (("check.ran", "on the result", "", "failed", "make", {"exit_code": 2}), "A check failed on the result, exit 2: make"),
        (("plan.recorded", "plan r2", "", "", "", {"revision": 2, "steps": 1}), "Plan revision 2, 1 step"),
        (("review.recorded", "retry_same", "", "", "again", {}), "The review says retry same: again"),
        (("of.tomorrow", "x", "a", "b", "c", {}), "of.tomorrow x a → b: c"),
    ],
)  # fmt: skip
def test_an_event_is_a_sentence(event: tuple[Any, ...], said: str) -> None:
    assert sentence(*event) == said

"""The handover packet, from a goal's story."""

from __future__ import annotations

from typing import Any

import pytest
from markdown_it import MarkdownIt

from orchestration.handover import go_on, markdown, open_questions, packet

GREEN = {"passed": True, "commit": "c" * 40, "log": "check-output-1"}
RED = {"passed": False, "commit": "b" * 40, "log": ""}


def step(index: int, status: str = "succeeded", **more: Any) -> dict[str, Any]:
    return {
        "index": index,
        "status": status,
        "description": f"do {index}",
        "reason": "",
        "commit": "",
        "carried": False,
    } | more


def run(step_index: int | None, status: str = "succeeded", **more: Any) -> dict[str, Any]:
    plain = {"id": "r", "kind": "step", "revision": 1, "attempt": 1, "losses": 0, "error_kind": "", "error": ""}
    return plain | {"step": step_index, "status": status} | more


def rollout(**more: Any) -> dict[str, Any]:
    plan = {"revision": 1, "origin": "planner", "summary": "", "sha256": "a" * 64, "steps": [step(0), step(1)]}
    plain = {"number": 1, "head": "c" * 40, "branch": "compymac/x/1", "patch": "patch-1", "patch_sha256": "f" * 64}
    plain |= {"changed_lines": 3, "verified": True, "plans": [plan], "runs": [run(0), run(1)], "reviews": []}
    return plain | more


def proof(turn: str = "fixed", **more: Any) -> dict[str, Any]:
    said = {
        "command": "make test",
        "origin": "person",
        "turn": turn,
        "said": f"it is {turn}",
        "another_environment": False,
    }
    return said | {"before": RED, "after": GREEN} | more


def story(**more: Any) -> dict[str, Any]:
    cost = dict.fromkeys(("calls", "max_calls", "commands", "max_commands", "spent_tokens", "max_tokens"), 1)
    plain: dict[str, Any] = {
        "id": "12345678-aaaa",
        "text": "Sell more",
        "status": "succeeded",
        "headline": "succeeded, verified",
    }
    plain |= {
        "verified": True,
        "reason": "",
        "why": "",
        "repository": "/home/ada/my shop",
        "base": "b" * 40,
        "model": "m",
    }
    plain |= {"given_checks": [], "started_at": "", "ended_at": "", "retry_of": "", "stuck": "", "paused_cap": ""}
    plain |= {"selected_by": "", "selected_reason": ""}
    plain |= {"selected": 1, "rollouts": [rollout()], "proof": [proof()]}
    money = {
        "usd": None,
        "price": "unknown (3 calls at an unknown price)",
        "max_usd": "2.000000",
        "reserved_usd": "0.000000",
    }
    money |= {"overrun_usd": "0.010000", "steps": 1, "max_steps": None, "unpriced_calls": 3}
    return plain | {"cost": cost | {"unknown_calls": 0, "overrun_tokens": 0} | money} | more


def failed(**more: Any) -> dict[str, Any]:
    steps = [step(0), step(1, "failed", reason="it would not"), step(2, "cancelled")]
    plan = {"revision": 1, "origin": "planner", "summary": "", "sha256": "a" * 64, "steps": steps}
    tried = rollout(plans=[plan], runs=[run(0), run(1, "failed", error="no hammer")], verified=False)
    return story(status="failed", verified=False, selected=None, rollouts=[tried], **more)


def test_a_verified_result_leaves_nothing_open() -> None:
    assert open_questions(story()) == []


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (story(proof=[]), "No check says"),
        (story(proof=[proof("flaky")]), "'make test': it is flaky"),
        (story(proof=[proof("kept")]), "none of them shows that the goal is reached"),
        (story(proof=[proof(another_environment=True)]), "another environment"),
        (story(stuck="Traceback"), "engine itself failed"),
        (failed(), "Step 1 is failed (do 1): it would not"),
        (failed(), "Step 2 is cancelled"),
        (
            story(rollouts=[rollout(reviews=[{"action": "stop", "suggested_changes": "ask Bob", "findings": []}])]),
            "ask Bob",
        ),
        (
            story(
                rollouts=[
                    rollout(
                        reviews=[
                            {
                                "action": "complete",
                                "suggested_changes": "",
                                "findings": [{"severity": "high", "file": "a.py", "line": 7, "text": "no test"}],
                            }
                        ]
                    )
                ]
            ),
            "Finding, high (a.py:7): no test",
        ),
        (story(cost=story()["cost"] | {"unknown_calls": 2}), "2 model call(s) were lost in flight"),
    ],
)
def test_what_is_open_is_said(told: dict[str, Any], said: str) -> None:
    assert any(said in question for question in open_questions(told)), open_questions(told)


@pytest.mark.parametrize(
    ("told", "commands"),
    [
        (story(), ["git -C '/home/ada/my shop' diff bbbbbbbbbbbb compymac/x/1", "manage.py goal apply 12345678"]),
        (failed(), ["manage.py goal retry 12345678", "manage.py goal retry 12345678 --from-step 1"]),
        (story(status="paused", paused_cap="calls"), ["manage.py goal resume 12345678 --max-calls N"]),
        (story(status="running", selected=None), ["manage.py goal watch 12345678"]),
        (story(status="cancelled", selected=None, rollouts=[]), ["manage.py goal retry 12345678"]),
    ],
)
def test_the_commands_to_go_on_with(told: dict[str, Any], commands: list[str]) -> None:
    assert [way["command"] for way in go_on(told)][: len(commands)] == commands


def test_of_several_rollouts_the_one_that_came_furthest_is_handed_over() -> None:
    first = rollout(number=1, plans=[], runs=[])
    told = failed()
    told["rollouts"] = [first, told["rollouts"][0] | {"number": 2}]
    assert packet(told)["result"]["rollout"] == 2
    assert "--from-step 1 --rollout 2" in go_on(told)[1]["command"]


def test_a_rollout_that_is_where_it_began_has_no_result() -> None:
    assert packet(story(rollouts=[rollout(head="b" * 40)]))["result"] is None


def test_the_text_has_every_part_and_the_hashes() -> None:
    text = markdown(packet(failed()))
    for part in ("# Goal 12345678", "> Sell more", "## Go on with", "## Open questions", "## Proof", "## Result"):
        assert part in text
    for part in ("## Plans", "## What was tried", "no hammer", "## Cost", "f" * 64, "c" * 40, "check-output-1"):
        assert part in text


HOSTILE = "![x](http://evil/a.png) <img src=x> [a](javascript:b) `c` \x1b[31m # www.evil.org ada@evil.org\n- b\n```"

REVIEW = {
    "action": "stop",
    "confidence": 0.5,
    "reasoning": HOSTILE,
    "evidence": [HOSTILE],
    "suggested_changes": HOSTILE,
    "findings": [],
}


def test_what_others_wrote_does_not_become_markup() -> None:
    tried = rollout(runs=[run(0, "failed", error=HOSTILE)], reviews=[REVIEW], branch=HOSTILE, plans=[])
    told = story(text=HOSTILE, reason=HOSTILE, rollouts=[tried], proof=[proof("flaky", command=HOSTILE, said=HOSTILE)])
    text = markdown(packet(told))
    shown = MarkdownIt("commonmark", {"html": True}).render(text)
    for harm in ("<img", "<a ", "javascript:b<", "\x1b"):
        assert harm not in shown, harm
    assert shown.count("<h1>") == 1

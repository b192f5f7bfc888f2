"""Red → green, by checks that nobody can talk away: flaky ones, hidden ones, stale ones, and those that were red before."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.management import call_command

from agents.contracts import CheckResult, Verdict
from agents.errors import StaleEvidence
from agents.llm.demo_model import brief_in
from orchestration import services
from orchestration.blobs import unpack_row
from orchestration.errors import BadInput
from orchestration.models import Artifact, Check, Event, Goal, Review, Run
from orchestration.selectors.proofs import proofs_of
from orchestration.services import Judged
from tests.support.engine import Engine
from tests.support.installation import story
from tests.support.models import Gated, Request, call, role, say, step, turn, verdict, writes_a_file

SUITE = """import unittest, pathlib
class Shop(unittest.TestCase):
    def test_note(self): self.assertTrue(pathlib.Path("note-0.txt").exists())
    def test_old(self): self.assertEqual(1, 2)
"""


def finished(engine: Engine, model: Any = writes_a_file, **more: Any) -> Goal:
    engine.serve(model)
    return engine.work(engine.goal("one", **more))


def card(goal: Goal) -> list[tuple[str, str]]:
    return [(proof.origin, proof.turn) for proof in proofs_of(goal)]


class TestTheCard:
    def test_red_turns_green_and_each_side_was_run_twice(self, engine: Engine) -> None:
        repo = engine.repository({"a.txt": "a\n"})
        goal = finished(engine, repo=repo, checks=["echo seen; test -f note-0.txt"])
        assert goal.verified, story(goal)
        assert card(goal) == [("person", "fixed")]
        before, after = Check.objects.order_by("pk")
        assert before.environment == after.environment != ""
        assert after.log is not None
        assert unpack_row(after.log).decode() == "seen\n"

    def test_what_passed_before_as_well_is_labelled(self, engine: Engine) -> None:
        goal = finished(engine, checks=["true"])
        assert card(goal) == [("person", "kept")]
        assert "not that the goal is reached" in proofs_of(goal)[0].said

    def test_a_check_that_is_once_this_and_once_that_decides_nothing(self, engine: Engine) -> None:
        """On the base it is red twice; on the result it passes, and fails when it is asked again on the same files."""
        flips = "test -f note-0.txt && { if test -e .seen; then exit 1; else touch .seen; fi; }"
        goal = finished(engine, checks=[flips])
        assert goal.status == "succeeded", story(goal)
        assert not goal.verified
        assert card(goal) == [("person", "flaky")]
        assert Event.objects.filter(goal=goal, kind="check.ran", data__flaky=True).exists()

    def test_a_check_that_was_flaky_before_the_work_began_decides_nothing_after_it(self, engine: Engine) -> None:
        flips = "test -f note-0.txt || { if test -e .seen; then exit 0; else touch .seen; exit 1; fi; }"
        goal = finished(engine, checks=[flips])
        assert (goal.status, goal.verified) == ("succeeded", False), story(goal)
        assert card(goal) == [("person", "flaky")]

    def test_the_numbers_of_a_known_runner_are_kept(self, engine: Engine) -> None:
        repo = engine.repository({"tests/__init__.py": "", "tests/test_shop.py": SUITE})
        goal = finished(engine, repo=repo)
        assert card(goal) == [("discovered", "still_failing")]
        before, after = (check.counts for check in Check.objects.order_by("pk"))
        assert (before["runner"], before["failed"], after["failed"]) == ("unittest", 2, 1)
        assert (goal.status, goal.verified) == ("succeeded", False), "what was red before and is not new does not count"

    def test_a_discovered_check_that_was_red_before_counts_where_something_new_fails(self, engine: Engine) -> None:
        more = "    def test_kept(self): self.assertTrue(pathlib.Path('keep.txt').exists())\n"
        repo = engine.repository({"tests/__init__.py": "", "tests/test_shop.py": SUITE + more, "keep.txt": "k\n"})

        def destroys(request: Request) -> dict[str, Any]:
            if role(request) != "executor":
                return writes_a_file(request)
            script = [call("run_command", command="rm keep.txt"), call("finish", success=True, summary="", evidence=[])]
            return script[min(turn(request), 1)]

        goal = finished(engine, destroys, repo=repo)
        assert goal.status == "failed", story(goal)
        assert "retry_with_changes" in Review.objects.order_by("created_at").values_list("action", flat=True)
        assert "test_kept" in proofs_of(goal)[0].said

    def test_it_is_what_goal_show_leads_with(self, engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
        goal = finished(engine, checks=["test -f note-0.txt"])
        capsys.readouterr()
        call_command("goal", "show", goal.short_id)
        shown = capsys.readouterr().out
        assert shown.index("Proof: verified") < shown.index("Events")
        assert "red before (exit code 1" in shown
        assert "red before, green now" in shown
        call_command("goal", "show", goal.short_id, "--json")
        line = json.loads(capsys.readouterr().out)["proof"][0]
        assert (line["turn"], line["before"]["passed"], line["after"]["passed"]) == ("fixed", False, True)


class TestHidden:
    def test_no_planner_and_no_executor_is_told_of_it(self, engine: Engine) -> None:
        told: dict[str, list[str]] = {"planner": [], "executor": [], "reviewer": []}
        hidden = "test -f note-0.txt && echo the-secret-word"

        def listens(request: Request) -> dict[str, Any]:
            told[role(request)].append(json.dumps(request["messages"]))
            return writes_a_file(request)

        goal = finished(engine, listens, hidden_checks=[hidden])
        assert goal.verified, story(goal)
        assert card(goal) == [("hidden", "fixed")]
        assert any("the-secret-word" in text for text in told["reviewer"])
        assert not [text for text in told["planner"] + told["executor"] if "secret-word" in text]

    def test_what_the_reviewer_says_of_it_does_not_reach_the_next_attempt(self, engine: Engine) -> None:
        told: list[str] = []
        hidden = "echo expected the-secret-price 42; test -f never.txt"

        def chats(request: Request) -> dict[str, Any]:
            if role(request) == "reviewer":
                return verdict("complete", request, f"I ran {hidden}", suggested_changes="expected the-secret-price 42")
            told.append(json.dumps(request["messages"]))
            return writes_a_file(request)

        goal = finished(engine, chats, hidden_checks=[hidden], limits={"calls": 60})
        assert goal.status == "failed", story(goal)
        assert len(told) > 4, "it was tried again"
        assert not [text for text in told if "secret-price" in text or "never.txt" in text]
        assert Review.objects.first().suggested_changes == "[hidden]"  # type: ignore[union-attr]

    def test_one_that_is_given_openly_too_hides_nothing(self, engine: Engine) -> None:
        with pytest.raises(BadInput, match="openly and as a hidden one"):
            engine.goal("one", checks=["true"], hidden_checks=["true"])


class TestStale:
    @pytest.mark.parametrize("older", ["check", "review"])
    def test_evidence_that_is_older_than_the_tree_is_refused(self, engine: Engine, older: str) -> None:
        gate = Gated("reviewer", writes_a_file)
        engine.serve(gate)
        goal = engine.goal("one", checks=["true"])
        engine.work(goal, until=gate.reached.is_set)
        run = Run.objects.select_related("rollout").get(kind="review")
        head = run.rollout.head
        commits = ("0" * 40, head) if older == "check" else ("0" * 40, "0" * 40)
        check = CheckResult(command="true", passed=True, exit_code=0, commit=commits[0])
        with pytest.raises(StaleEvidence, match="proves nothing"):
            services.record_review(run, Judged(Verdict(action="complete"), commits[1], [check], True))
        assert not Review.objects.exists()
        assert Run.objects.get(pk=run.pk).status == "running", "nothing of it was kept"
        gate.open()
        assert engine.work(goal).verified


class TestNoEvidence:
    @pytest.mark.parametrize(
        ("check", "status"), [("test -f note-0.txt", "succeeded"), ("true; exit $((1 - 0))", "failed")]
    )
    def test_a_verdict_that_cites_nothing_twice_is_none_and_the_checks_decide(
        self, engine: Engine, check: str, status: str
    ) -> None:
        asked = []

        def claims(request: Request) -> dict[str, Any]:
            if role(request) != "reviewer":
                return writes_a_file(request)
            asked.append(request)
            return say({"action": "complete", "reasoning": "trust me", "confidence": 1.0})

        goal = finished(engine, claims, checks=[check])
        assert (goal.status, goal.verified) == (status, status == "succeeded"), story(goal)
        assert len(asked) >= 2, "it was asked again"
        if status == "failed":
            assert "cited no evidence" in goal.reason
            assert not Review.objects.exists()
        else:
            assert "what it said does not count" in Review.objects.get().reasoning


class TestHandover:
    def test_a_goal_that_failed_says_what_was_tried_and_the_command_that_goes_on(
        self, engine: Engine, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def stops(request: Request) -> dict[str, Any]:
            if role(request) == "reviewer":
                return verdict("stop", request, "it needs a hammer", suggested_changes="buy one")
            if role(request) == "planner":
                return say({"steps": [step(0, "look"), step(1, "hit", dependencies=[0])]})
            if brief_in(request["messages"])["step"]["index"] == 1:
                return call("finish", success=False, summary="there was no hammer", evidence=[])
            return writes_a_file(request)

        goal = finished(engine, stops, repo=engine.repository({"a.txt": "a\n"}), checks=["test -f nail.txt"])
        assert goal.status == "failed", story(goal)
        capsys.readouterr()
        call_command("goal", "handover", goal.short_id)
        text = capsys.readouterr().out
        assert f"`manage.py goal retry {goal.short_id} --from-step 1`" in text
        assert "there was no hammer" in text
        assert "buy one" in text
        call_command("goal", "handover", goal.short_id, "--json")
        handed = json.loads(capsys.readouterr().out)
        assert [run["status"] for run in handed["tried"] if run["step"] == 1] == ["failed"] * 3
        assert handed["result"]["patch_sha256"] == Artifact.objects.get(pk=handed["result"]["patch"]).sha256
        call_command("goal", "show", goal.short_id)
        assert "Go on with" in capsys.readouterr().out
        again = engine.work(services.retry_goal(goal.pk, from_step=1))
        assert again.status == "failed", "the command that was named is one that works"

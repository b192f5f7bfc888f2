"""A goal's way through the engine with a scripted model: what is done, in which order, and how it ends."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import Any

import pytest
from django.db.models.functions import Now

from agents.llm.demo_model import answer, brief_in
from orchestration import services
from orchestration.errors import IllegalMove
from orchestration.models import Breaker, Budget, Call, Goal, Plan, Review, Run, Step
from tests.support.engine import Engine
from tests.support.installation import EXAMPLE_GOAL, story
from tests.support.models import Request, call, role, say, step, turn, verdict, writes_a_file


def answering(**by_role: Any) -> Any:
    """A model that answers as `writes_a_file`, except for the roles named here."""

    def say_it(request: Request) -> dict[str, Any]:
        return by_role.get(role(request), writes_a_file)(request)  # type: ignore[no-any-return]

    return say_it


def finished(engine: Engine, model: Any, **more: Any) -> Goal:
    engine.serve(model)
    return engine.work(engine.goal(**more))


class TestSteps:
    def test_all_steps_of_a_plan_are_merged_into_one_result(self, engine: Engine) -> None:
        goal = finished(engine, writes_a_file, text="one\ntwo\nthree")
        assert goal.status == "succeeded", story(goal)
        assert goal.selected.changed_lines == 3
        assert Step.objects.filter(status="succeeded").count() == 3
        assert not goal.verified, "it had no checks"

    def test_a_step_sees_what_the_step_before_it_left(self, engine: Engine) -> None:
        plan = {"steps": [step(0, "first"), step(1, "second", dependencies=[0])]}
        seen = []

        def executor(request: Request) -> dict[str, Any]:
            if brief_in(request["messages"])["step"]["index"] == 0:
                return writes_a_file(request)
            if not turn(request):
                return call("read_file", path="note-0.txt")
            seen.append(str(request["messages"][-1]["content"]))
            return call("finish", success=True, summary="seen", evidence=[])

        goal = finished(engine, answering(planner=lambda _: say(plan), executor=executor))
        assert goal.status == "succeeded", story(goal)
        assert "first" in seen[0]

    def test_a_step_that_may_not_run_in_parallel_runs_alone(self, engine: Engine) -> None:
        plan = {"steps": [step(0, "a"), step(1, "b", can_parallelize=False), step(2, "c")]}
        goal = finished(engine, answering(planner=lambda _: say(plan)))
        assert goal.status == "succeeded", story(goal)
        runs = {run.step.index: run for run in Run.objects.filter(kind="step").select_related("step")}
        for other in (0, 2):
            apart = runs[1].ended_at <= runs[other].started_at or runs[other].ended_at <= runs[1].started_at
            assert apart, story(goal)

    def test_two_steps_that_write_the_same_lines_conflict_and_both_get_done(self, engine: Engine) -> None:
        plan = {"steps": [step(0, "a"), step(1, "b")]}

        def executor(request: Request) -> dict[str, Any]:
            name = brief_in(request["messages"])["step"]["description"]
            script = [
                call("run_command", command=f"cat shared.txt; echo {name} >> shared.txt; sleep 0.4"),
                call("finish", success=True, summary="added", evidence=[]),
            ]
            return script[min(turn(request), 1)]

        repo = engine.repository({"shared.txt": "begin\n"})
        goal = finished(engine, answering(planner=lambda _: say(plan), executor=executor), repo=repo)
        assert goal.status == "succeeded", story(goal)
        shown = subprocess.run(
            ["git", "show", f"{goal.selected.branch}:shared.txt"], cwd=repo, check=True, capture_output=True, text=True
        ).stdout
        assert sorted(shown.split()) == ["a", "b", "begin"]

    def test_honest_failures_are_tried_three_times_and_then_reviewed(self, engine: Engine) -> None:
        def executor(_: Request) -> dict[str, Any]:
            return call("finish", success=False, summary="I cannot do it", evidence=[])

        goal = finished(engine, answering(executor=executor, reviewer=lambda r: verdict("stop", r)), text="one")
        assert goal.status == "failed"
        assert list(Run.objects.filter(kind="step").values_list("status", flat=True)) == ["failed"] * 3
        assert Review.objects.get().action == "stop"

    def test_the_next_attempt_is_told_why_the_last_one_failed(self, engine: Engine) -> None:
        told = []

        def executor(request: Request) -> dict[str, Any]:
            failures = brief_in(request["messages"]).get("failures")
            if not failures:
                return call("finish", success=False, summary="there was no hammer", evidence=[])
            told.extend(failures)
            return writes_a_file(request)

        goal = finished(engine, answering(executor=executor), text="one")
        assert goal.status == "succeeded", story(goal)
        assert "there was no hammer" in told[0]


class TestReviews:
    @pytest.mark.parametrize("action", ["retry_same", "retry_with_changes", "gather_info", "replan"])
    def test_a_review_that_wants_more_gets_a_new_revision(self, engine: Engine, action: str) -> None:
        def reviewer(request: Request) -> dict[str, Any]:
            again = brief_in(request["messages"]).get("earlier")
            return verdict(
                "complete" if again else action, request, "look closer", suggested_changes="use the other file"
            )

        goal = finished(engine, answering(reviewer=reviewer), text="one")
        assert goal.status == "succeeded", story(goal)
        assert list(Plan.objects.order_by("revision").values_list("revision", flat=True)) == [1, 2]
        assert list(Review.objects.order_by("created_at").values_list("action", flat=True)) == [action, "complete"]

    def test_a_review_that_always_wants_more_ends_at_a_cap(self, engine: Engine) -> None:
        goal = finished(engine, answering(reviewer=lambda r: verdict("replan", r)), text="one")
        assert goal.status == "failed"
        assert "3 replans did not help" in goal.reason

    def test_a_reviewer_cannot_talk_a_failing_check_away(self, engine: Engine) -> None:
        repo = engine.repository({"a.txt": "a\n"})
        goal = finished(engine, writes_a_file, text="one", repo=repo, checks=["test -f never.txt"])
        assert goal.status == "failed", story(goal)
        assert not goal.verified

    def test_work_that_rewrites_the_test_that_judges_it_does_not_pass(self, engine: Engine) -> None:
        def executor(request: Request) -> dict[str, Any]:
            script = [
                call("write_file", path="tests/test_a.py", content="import unittest\n"),
                call("finish", success=True, summary="the tests are gone, so none fails", evidence=[]),
            ]
            return script[min(turn(request), 1)]

        failing = "import unittest\nclass T(unittest.TestCase):\n    def test_it(self):\n        self.fail('broken')\n"
        repo = engine.repository({"tests/test_a.py": failing, "tests/__init__.py": ""})
        check = "python3 -m unittest tests.test_a"
        goal = finished(engine, answering(executor=executor), text="one", repo=repo, checks=[check])
        assert goal.status == "failed", story(goal)

    def test_work_that_rewrites_what_a_discovered_check_runs_does_not_pass(self, engine: Engine) -> None:
        def executor(request: Request) -> dict[str, Any]:
            script = [
                call("write_file", path="Makefile", content="test:\n\ttrue\n"),
                call("finish", success=True, summary="make test passes now", evidence=[]),
            ]
            return script[min(turn(request), 1)]

        repo = engine.repository({"Makefile": "test:\n\tfalse\n"})
        goal = finished(engine, answering(executor=executor), text="one", repo=repo)
        assert (goal.status, goal.verified) == ("succeeded", False), story(goal)

    def test_a_persons_own_check_may_be_about_the_file_that_defines_it(self, engine: Engine) -> None:
        def executor(request: Request) -> dict[str, Any]:
            script = [
                call("write_file", path="Makefile", content="hello:\n\techo hello\n"),
                call("finish", success=True, summary="there is a target hello", evidence=[]),
            ]
            return script[min(turn(request), 1)]

        repo = engine.repository({"Makefile": "all:\n\ttrue\n"})
        goal = finished(engine, answering(executor=executor), text="one", repo=repo, checks=["make hello"])
        assert (goal.status, goal.verified) == ("succeeded", True), story(goal)


class TestAnswersThatAreNoPlan:
    @pytest.mark.parametrize(
        ("reply", "named"),
        [
            ("I would rather not.", "JSON"),
            ({"steps": []}, "step"),
            ({"steps": [step(0, "a", dependencies=[1]), step(1, "b", dependencies=[0])]}, "cycl"),
            ({"steps": [step(0, "a", dependencies=[7])]}, "7"),
            ({"steps": [{"index": n, "description": "x"} for n in range(10_000)]}, "50"),
            ({"steps": [step(0, "a"), step(0, "b")]}, "0"),
        ],
        ids=["not JSON", "no steps", "cyclic", "unknown dependency", "10,000 steps", "doubled index"],
    )
    def test_it_is_asked_again_twice_and_then_fails_with_the_text_kept(
        self, engine: Engine, reply: Any, named: str
    ) -> None:
        goal = finished(engine, answering(planner=lambda _: say(reply)), text="one")
        assert goal.status == "failed"
        run = Run.objects.get(kind="plan")
        assert run.error_kind == "invalid_reply"
        assert named in run.error
        assert len(engine.model.calls) == 3
        assert Call.objects.filter(run=run, status="done").count() == 3, "what the model said is kept"

    def test_a_tool_that_does_not_exist_is_answered_with_those_that_do(self, engine: Engine) -> None:
        said = []

        def executor(request: Request) -> dict[str, Any]:
            if not turn(request):
                return call("launch_rocket", where="moon")
            said.append(str(request["messages"][-1]["content"]))
            return call("finish", success=True, summary="no rockets", evidence=[])

        goal = finished(engine, answering(executor=executor), text="one")
        assert goal.status == "succeeded", story(goal)
        assert "launch_rocket" in said[0]
        assert "run_command" in said[0]

    def test_a_path_out_of_the_workspace_is_refused_and_the_work_goes_on(self, engine: Engine) -> None:
        said = []

        def executor(request: Request) -> dict[str, Any]:
            if not turn(request):
                return call("write_file", path="../../etc/passwd", content="root::0:0")
            said.append(str(request["messages"][-1]["content"]))
            return call("finish", success=True, summary="nothing", evidence=[])

        goal = finished(engine, answering(executor=executor), text="one")
        assert goal.status == "succeeded", story(goal)
        assert said[0].startswith("error:")


class TestModelThatSaysNo:
    def test_a_wrong_key_is_one_clear_failure(self, engine: Engine) -> None:
        engine.serve(writes_a_file, key="the-right-one")
        engine.key = "the-wrong-one"
        goal = engine.work(engine.goal("one"))
        assert goal.status == "failed"
        assert Run.objects.count() == 1
        assert "LLM_API_KEY" in goal.reason
        assert "the-wrong-one" not in goal.reason + story(goal) + Run.objects.get().error

    def test_a_server_that_breaks_bills_nothing_and_is_asked_again(self, engine: Engine) -> None:
        model = engine.serve(writes_a_file)
        model.faults.nth = 1
        goal = engine.goal("one")
        engine.work(goal, until=goal.events.filter(data__doubtful=True).exists)
        assert Budget.objects.get().spent_tokens == 0, "an error of the server is not billed"
        model.faults.nth = 0
        Breaker.objects.update(probe_at=Now())
        assert engine.work(goal).status == "succeeded", story(goal)
        assert not Run.objects.exclude(attempt=1).exists()

    def test_html_from_a_server_is_named(self, engine: Engine) -> None:
        model = engine.serve(writes_a_file)
        model.faults.nth, model.faults.status, model.faults.body = 1, 200, "<html>Sign in</html>"
        goal = engine.work(engine.goal("one"))
        assert goal.status == "failed"
        assert "JSON" in goal.reason or "html" in goal.reason.lower()
        budget = Budget.objects.get()
        assert budget.spent_tokens > 0, "it may have been billed, so it counts as spent"
        assert budget.reserved_tokens == 0


class TestCaps:
    def test_a_goal_pauses_at_its_cap_with_its_work_kept_and_goes_on_with_a_higher_one(self, engine: Engine) -> None:
        engine.serve(writes_a_file)
        goal = engine.work(engine.goal("one\ntwo", limits={"calls": 4}))
        assert (goal.status, goal.paused_cap) == ("paused", "calls")
        assert len(engine.model.calls) == 4, "not one call more than allowed"
        services.resume_goal(goal.pk, limits={"calls": 50})
        goal = engine.work(goal)
        assert goal.status == "succeeded", story(goal)
        assert len(engine.model.calls) == 8, "1 plan, 2 x 3 turns, 1 review: nothing was bought twice"

    def test_the_cap_holds_across_rollouts(self, engine: Engine) -> None:
        engine.serve(writes_a_file)
        goal = engine.work(engine.goal("one", limits={"calls": 10}, rollouts=3, strategy="best_of_n"))
        assert goal.status == "paused"
        assert len(engine.model.calls) <= 10
        assert Budget.objects.get().reserved_tokens == 0

    def test_tokens_are_reserved_before_the_call(self, engine: Engine) -> None:
        engine.serve(writes_a_file)
        goal = engine.work(engine.goal("one", limits={"tokens": 100}))
        assert (goal.status, goal.paused_cap) == ("paused", "tokens")
        assert engine.model.calls == []

    def test_a_resume_without_a_higher_limit_is_refused(self, engine: Engine) -> None:
        engine.serve(writes_a_file)
        goal = engine.work(engine.goal("one", limits={"calls": 1}))
        assert goal.status == "paused"
        with pytest.raises(Exception, match="limit of calls"):
            services.resume_goal(goal.pk)


class TestRetryOfAGoal:
    def test_a_new_goal_carries_the_finished_steps(self, engine: Engine) -> None:
        def executor(request: Request) -> dict[str, Any]:
            if brief_in(request["messages"])["step"]["index"] == 1:
                return call("finish", success=False, summary="not today", evidence=[])
            return writes_a_file(request)

        old = finished(engine, answering(executor=executor, reviewer=lambda r: verdict("stop", r)), text="one\ntwo")
        assert old.status == "failed"
        engine.serve(writes_a_file)
        goal = engine.work(services.retry_goal(old.pk))
        assert goal.status == "succeeded", story(goal)
        assert goal.retry_of == old
        assert goal.selected.changed_lines == 2
        assert len(engine.model.calls) == 4, "3 turns of the one step, 1 review: no plan, not the finished step"

    def test_an_open_goal_cannot_be_retried(self, engine: Engine) -> None:
        with pytest.raises(IllegalMove, match="only an ended goal"):
            services.retry_goal(engine.goal("one").pk)


class TestRollouts:
    def test_the_best_of_n_is_verified_and_smallest(self, engine: Engine) -> None:
        def executor(request: Request) -> dict[str, Any]:
            brief = brief_in(request["messages"])
            lines = 9 if "approach" in brief.get("context", {}) else 2
            script = [
                call("write_file", path="out.txt", content="x\n" * lines),
                call("finish", success=True, summary="written", evidence=[]),
            ]
            return script[min(turn(request), 1)]

        repo = engine.repository({"a.txt": "a\n"})
        goal = finished(
            engine,
            answering(executor=executor),
            text="one",
            repo=repo,
            checks=["test -f out.txt"],
            rollouts=3,
            strategy="best_of_n",
        )
        assert (goal.status, goal.verified) == ("succeeded", True), story(goal)
        assert (goal.selected.number, goal.selected.changed_lines) == (1, 2)
        assert goal.rollouts.filter(status="succeeded").count() == 3

    def test_all_failed_has_the_reasons_of_each(self, engine: Engine) -> None:
        goal = finished(engine, answering(reviewer=lambda r: verdict("stop", r, "no good")), text="one", rollouts=2)
        assert goal.status == "failed"
        assert goal.selected is None
        assert goal.reason.count("no good") == 2


def test_the_planner_finds_the_file_of_a_function_that_a_goal_names(engine: Engine) -> None:
    """A model that knows nothing but what it is shown: it searches for the name in the goal, and plans with what it finds."""

    def planner(request: Request) -> dict[str, Any]:
        if not turn(request):
            return call("search", pattern="def total_price")
        found = str(request["messages"][-1]["content"]).split(":")[0].split()[-1]
        return say({"steps": [step(0, f"Fix total_price in {found}", writes=[found])]})

    files = {"shop/a.py": "x = 1\n", "shop/deep/prices.py": "def total_price(items):\n    return 0\n"}
    goal = finished(engine, answering(planner=planner), text="total_price is wrong", repo=engine.repository(files))
    assert goal.status == "succeeded", story(goal)
    assert "shop/deep/prices.py" in Step.objects.first().description


def test_the_example_is_solved_with_fenced_actions_too(engine: Engine) -> None:
    engine.worker._tools = replace(engine.worker._tools, tool_calls=False)
    engine.serve(answer)
    goal = engine.work(
        engine.goal(EXAMPLE_GOAL, repo=engine.example(), checks=["python3 -m unittest discover -s tests -t ."])
    )
    assert (goal.status, goal.verified) == ("succeeded", True), story(goal)

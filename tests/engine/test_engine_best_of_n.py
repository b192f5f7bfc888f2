"""Several rollouts of one goal through the engine: how they differ, when they start, the clean room, the choice, a person's own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command

from agents.llm.demo_model import brief_in
from orchestration import services
from orchestration.errors import BadInput, IllegalMove
from orchestration.handover import packet
from orchestration.models import Check, Event, Goal, Rollout, Run
from orchestration.states import TERMINAL_GOAL, GoalStatus
from orchestration.story import handed_over
from orchestration.story import story as told
from tests.support.engine import Engine
from tests.support.installation import story
from tests.support.models import Request, call, role, say, turn, verdict, writes_a_file

pytestmark = pytest.mark.long

BEST: dict[str, Any] = {"strategy": "best_of_n"}


def approach(request: Request) -> str:
    """The first word of what this rollout is told to do differently."""
    return str(brief_in(request["messages"]).get("context", {}).get("approach", "")).split(" ")[0]


def writing(content: Callable[[Request], str], review: Callable[[Request], Any] | None = None) -> Any:
    """One step that writes out.txt."""

    def answerer(request: Request) -> Any:
        if role(request) == "executor":
            script = [
                call("write_file", path="out.txt", content=content(request)),
                call("finish", success=True, summary="written", evidence=[]),
            ]
            return script[min(turn(request), 1)]
        if role(request) == "reviewer" and review is not None:
            return review(request)
        return writes_a_file(request)

    return answerer


def ended(engine: Engine, **more: Any) -> Goal:
    repo = engine.repository({"a.txt": "a\n"})
    return engine.work(engine.goal("one", repo=repo, checks=["test -f out.txt"], **more), seconds=60)


class TestDiversity:
    def test_it_reaches_planner_and_executors_and_nobody_else(self, engine: Engine) -> None:
        seen: dict[str, set[tuple[str, Any, str]]] = {"planner": set(), "executor": set(), "reviewer": set()}

        def answerer(request: Request) -> Any:
            seen[role(request)].add((approach(request), request["temperature"], request["model"]))
            return writing(lambda r: "x\n")(request)

        engine.serve(answerer)
        declared = [
            {"hint": "direct", "temperature": 0.2},
            {"hint": "creative", "temperature": 0.9, "model": "other-model"},
        ]
        goal = ended(engine, rollouts=2, diversity=declared, **BEST)
        assert goal.status == "succeeded", story(goal)
        wanted = {("Look", 0.2, "test-model"), ("The", 0.9, "other-model")}
        assert seen["planner"] == seen["executor"] == wanted
        assert seen["reviewer"] == {("", 0.0, "test-model")}, "who judges is the same for all"
        assert goal.diversity == declared
        shown = told(goal)["rollouts"]
        assert [(r["hint"], r["temperature"], r["model"]) for r in shown] == [
            ("direct", 0.2, ""),
            ("creative", 0.9, "other-model"),
        ]

    def test_a_retry_differs_in_the_same_way(self, engine: Engine) -> None:
        engine.serve(writing(lambda r: "x\n", lambda r: verdict("stop", r)))
        old = ended(engine, rollouts=2, diversity=[{"hint": "thorough"}], stagger=9, **BEST)
        again = services.retry_goal(old.pk)
        assert list(again.rollouts.order_by("number").values_list("hint", flat=True)) == ["thorough", "thorough"]
        assert again.stagger_seconds == 9

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            ({"diversity": [{}, {}]}, "2 variations are declared for 1"),
            ({"rollouts": 2, "diversity": [{"hint": "odd"}]}, "unknown hint"),
            ({"stagger": 5}, "nothing can be staggered"),
            ({"rollouts": 2, "stagger": 0}, "1 to 86400"),
        ],
    )
    def test_what_cannot_be_is_refused(self, engine: Engine, more: dict[str, Any], said: str) -> None:
        with pytest.raises(BadInput, match=said):
            engine.goal("one", **more)


class TestStart:
    def test_staggered_the_second_starts_when_the_first_has_failed(self, engine: Engine) -> None:
        def review(request: Request) -> Any:
            wrong = "wrong" in brief_in(request["messages"])["diff"]
            return verdict("stop" if wrong else "complete", request, "no good" if wrong else "good")

        engine.serve(writing(lambda r: "wrong\n" if approach(r) == "Look" else "right\n", review))
        goal = ended(engine, rollouts=2, stagger=3600, diversity=[{"hint": "direct"}, {"hint": "thorough"}])
        assert goal.status == "succeeded", story(goal)
        first, second = goal.rollouts.order_by("number")
        assert (first.status, second.status, goal.selected) == ("failed", "succeeded", second)
        assert second.runs.earliest("queued_at").queued_at >= first.ended_at

    def test_a_verified_success_leaves_the_second_unstarted(self, engine: Engine) -> None:
        engine.serve(writing(lambda r: "right\n"))
        goal = ended(engine, rollouts=2, stagger=3600)
        assert (goal.status, goal.verified) == ("succeeded", True), story(goal)
        assert not Run.objects.filter(rollout__number=2).exists()
        assert goal.rollouts.get(number=2).status == "cancelled"
        assert goal.selected_reason == "Rollout 1 was the first verified success."

    def test_the_delay_starts_it_too(self, engine: Engine) -> None:
        engine.serve(writing(lambda r: "right\n"))
        engine.goal("one", rollouts=2, stagger=1)
        assert not Run.objects.filter(rollout__number=2).exists()
        Run.objects.filter(rollout__number=1).update(queued_at="2026-01-01T00:00:00Z")
        services.sweep()
        assert Run.objects.filter(rollout__number=2).exists(), "the housekeeper starts it when its time has come"

    def test_none_is_started_that_cannot_be_paid_for(self, engine: Engine) -> None:
        engine.serve(writing(lambda r: "right\n"))
        goal = ended(engine, rollouts=3, limits={"calls": 5}, **BEST)
        assert goal.status == "succeeded", story(goal)
        assert len(engine.model.calls) <= 5
        refused = goal.rollouts.filter(number__gt=1)
        assert {r.status for r in refused} == {"cancelled"}
        assert all(r.reason.startswith("not started: the goal's limits leave 2 model calls") for r in refused)
        assert not Run.objects.filter(rollout__in=refused).exists()


class TestShare:
    def test_one_that_goes_on_and_on_leaves_the_others_theirs(self, engine: Engine) -> None:
        first_ended = threading.Event()

        def answerer(request: Request) -> Any:
            if approach(request):  # the second one
                assert first_ended.wait(60)
                return writing(lambda _: "done")(request)
            if role(request) == "executor":
                return call("run_command", command=f"echo {turn(request)}; date +%N")
            return writes_a_file(request)

        engine.serve(answerer)
        goal = engine.goal("one", repo=engine.repository({"a.txt": "a\n"}), rollouts=2, limits={"calls": 40}, **BEST)
        first, second = goal.rollouts.order_by("number")

        def ended_first() -> bool:
            first.refresh_from_db()
            return first.status == "failed"

        engine.work(goal, until=ended_first, seconds=60)
        first_ended.set()
        goal = engine.work(goal, seconds=60)
        assert "its share of the goal's limits is used: " in first.reason
        assert "of 20 model calls (others to go on: 1)" in first.reason
        second.refresh_from_db()
        assert (goal.status, second.status) == ("succeeded", "succeeded"), story(goal)


class TestCleanRoom:
    def test_each_candidate_is_examined_in_a_fresh_sandbox(self, engine: Engine) -> None:
        engine.serve(writing(lambda r: "right\n"))
        goal = ended(engine, rollouts=2, hidden_checks=["grep -q right out.txt"], **BEST)
        assert goal.status == "succeeded", story(goal)
        rows = Check.objects.filter(goal=goal, phase="clean")
        assert sorted(rows.values_list("rollout__number", "command", "passed")) == [
            *((n, command, True) for n in (1, 2) for command in ("grep -q right out.txt", "test -f out.txt"))
        ]
        assert {row.commit for row in rows} == {r.head for r in goal.rollouts.all()}
        assert Run.objects.filter(goal=goal, kind="exam", status="succeeded").count() == 2

    def test_what_fails_there_never_wins(self, engine: Engine) -> None:
        """The tools that the check needs are broken between review and clean room, for the result that was the better one."""
        tools = engine.folder / "tools"
        tools.mkdir(mode=0o755)

        def review(request: Request) -> Any:
            if "small" in brief_in(request["messages"])["diff"]:
                (tools / "small").touch()
            return verdict("complete", request)

        engine.serve(writing(lambda r: "small\n" if approach(r) == "Look" else "large\nlarge\n", review))
        repo = engine.repository({"a.txt": "a\n"})
        check = "test -f out.txt && test ! -e /opt/toolchain/0/$(head -n 1 out.txt)"
        variety = [{"hint": "direct"}, {"hint": "thorough"}]
        goal = engine.goal(
            "one", repo=repo, checks=[check], toolchain=[str(tools)], rollouts=2, diversity=variety, **BEST
        )
        goal = engine.work(goal, seconds=60)
        assert (goal.status, goal.verified) == ("succeeded", True), story(goal)
        first, second = goal.rollouts.order_by("number")
        assert (first.status, first.score, goal.selected) == ("failed", 0, second)
        assert first.reason.startswith("in the clean room: ")
        assert first.patch is not None, "it is kept, to be looked at"
        assert "the only one" in goal.selected_reason

    def test_a_patch_that_is_not_what_was_reviewed_is_refused(self, engine: Engine) -> None:
        """Between review and clean room somebody changes the stored patch."""

        def tampered(run: Run) -> bool:
            return run.kind == "exam" and bool(Rollout.objects.filter(pk=run.rollout_id).update(patch=other))

        from orchestration.blobs import save_blob
        from orchestration.runs import envelope, examining

        other = save_blob(
            "patch", b"diff --git a/z b/z\nnew file mode 100644\n--- /dev/null\n+++ b/z\n@@ -0,0 +1 @@\n+z\n"
        )
        original = envelope.PROCEDURES["exam"]

        def examine(tools: Any, active: Any) -> Any:
            tampered(active.run)
            active.run.rollout.refresh_from_db()
            return examining.examine(tools, active)

        engine.serve(writing(lambda r: "right\n"))
        envelope.PROCEDURES["exam"] = examine  # type: ignore[index]
        try:
            goal = ended(engine, rollouts=2, **BEST)
        finally:
            envelope.PROCEDURES["exam"] = original  # type: ignore[index]
        assert goal.status == "failed", story(goal)
        assert goal.reason.count("the patch does not give the files that were reviewed") == 2

    def test_all_failed_is_handed_over_with_confidence_0(self, engine: Engine) -> None:
        engine.serve(writing(lambda r: "x\n", lambda r: verdict("stop", r, "no good")))
        goal = ended(engine, rollouts=2, **BEST)
        handed = packet(handed_over(goal))
        assert (goal.status, goal.selected) == ("failed", None)
        assert handed["confidence"] == 0
        assert handed["result"]["patch"], "the best there is"


class TestChoice:
    def test_the_score_comes_before_the_size(self, engine: Engine) -> None:
        """The smaller result needed a second attempt."""

        def answerer(request: Request) -> Any:
            small = approach(request) == "Look"
            if role(request) == "executor" and small and "failures" not in brief_in(request["messages"]):
                return call("finish", success=False, summary="not at once", evidence=[])
            return writing(lambda r: "small\n" if small else "large\nlarge\n")(request)

        engine.serve(answerer)
        goal = ended(engine, rollouts=2, diversity=[{"hint": "direct"}, {"hint": "thorough"}], **BEST)
        first, second = goal.rollouts.order_by("number")
        assert (first.score, second.score) == (100 - 5 - 2 + 9, 109), story(goal)
        assert goal.selected == second
        assert "highest score, 109; the next is rollout 1 with 102" in goal.selected_reason
        assert first.tokens > 0

    def test_equal_results_are_judged_three_times_in_another_order(self, engine: Engine) -> None:
        answerer = Equals()
        engine.serve(answerer)
        goal = ended(engine, rollouts=3, diversity=[{}], **BEST)
        assert goal.status == "succeeded", story(goal)
        assert goal.selected.votes == 3
        assert "the judge preferred it 3 times" in goal.selected_reason
        assert "+b" in bytes_of(goal.selected)
        assert len(answerer.orders) == 3
        assert len(set(answerer.orders)) > 1, "the place in the list must not decide"
        assert Event.objects.filter(goal=goal, kind="candidates.judged").count() == 1
        judge = Run.objects.get(goal=goal, kind="judge")
        assert judge.calls.count() == 3
        assert goal.budget.calls == len(engine.model.calls), "reserved like all others"

    def test_a_judge_that_says_nothing_of_use_leaves_it_to_the_lower_number(self, engine: Engine) -> None:
        engine.serve(Equals(answer=lambda letters: say({"best": "Z", "reasoning": "?"})))
        goal = ended(engine, rollouts=2, diversity=[{}], **BEST)
        assert (goal.status, goal.selected.number) == ("succeeded", 1), story(goal)
        assert "the lower number" in goal.selected_reason

    def test_a_cancel_while_the_judge_works_is_a_cancel(self, engine: Engine) -> None:
        held = threading.Event()
        asked = threading.Event()

        def answer(letters: dict[str, str]) -> Any:
            asked.set()
            held.wait(30)
            return say({"best": "A"})

        engine.serve(Equals(answer=answer))
        repo = engine.repository({"a.txt": "a\n"})
        goal = engine.goal("one", repo=repo, checks=["test -f out.txt"], rollouts=2, diversity=[{}], **BEST)
        engine.work(goal, until=asked.is_set, seconds=60)
        services.cancel_goal(goal.pk)
        for active in engine.worker.active.all():
            active.stop("the goal was cancelled")
        held.set()
        goal = engine.work(goal)
        assert (goal.status, goal.selected) == (GoalStatus.CANCELLED, None), story(goal)
        assert goal.status in TERMINAL_GOAL


class Equals:
    """Results of the same size; the judge likes the one with a b."""

    def __init__(self, answer: Callable[[dict[str, str]], Any] | None = None) -> None:
        self.answer = answer or (lambda letters: say({"best": next(k for k, v in letters.items() if "+b" in v)}))
        self.orders: list[str] = []
        self._left = ["c", "b", "a"]
        self._kept: dict[str, str] = {}
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Any:
        if role(request) == "judge":
            letters = brief_in(request["messages"])["results"]
            if turn(request) == 0:
                self.orders.append("".join(v.split("\n+")[-1][:1] for v in letters.values()))
            return self.answer(letters)
        return writing(lambda r: self._next() + "\n")(request)

    def _next(self) -> str:
        with self._lock:
            return self._left.pop() if self._left else "d"


def bytes_of(rollout: Rollout) -> str:
    from orchestration.blobs import load_blob

    return load_blob(rollout.patch_id).decode()


class TestPick:
    def two(self, engine: Engine) -> Goal:
        engine.serve(writing(lambda r: "small\n" if approach(r) == "Look" else "large\nlarge\n"))
        goal = ended(
            engine, rollouts=3, diversity=[{"hint": "direct"}, {"hint": "thorough"}, {"hint": "creative"}], **BEST
        )
        assert goal.selected.number == 1, story(goal)
        return goal

    def test_a_person_takes_another_one_and_says_why(self, engine: Engine, capsys: Any) -> None:
        goal = self.two(engine)
        ends = {(r.number, r.status, r.ended_at) for r in goal.rollouts.all()}
        call_command("goal", "pick", str(goal.pk), "--rollout", "2", "--reason", "it says it twice")
        goal.refresh_from_db()
        assert (goal.selected.number, goal.selected_by, goal.selected_reason) == (2, "shell", "it says it twice")
        assert {(r.number, r.status, r.ended_at) for r in goal.rollouts.all()} == ends
        event = Event.objects.get(goal=goal, kind="goal.picked")
        assert (event.old, event.new, event.reason) == ("rollout 1", "rollout 2", "it says it twice")
        call_command("goal", "diff", str(goal.pk), "--rollout", "1")
        assert "+small" in capsys.readouterr().out, "the other one is still there"
        call_command("goal", "diff", str(goal.pk))
        assert "+large" in capsys.readouterr().out
        call_command("goal", "show", str(goal.pk))
        shown = capsys.readouterr().out
        assert "why this one (shell): it says it twice" in shown
        assert "hint thorough, score 109" in shown

    def test_what_cannot_be_picked(self, engine: Engine) -> None:
        goal = self.two(engine)
        with pytest.raises(IllegalMove, match="selected already"):
            services.pick_rollout(goal.pk, 1, reason="same")
        with pytest.raises(BadInput, match="has no rollout 9"):
            services.pick_rollout(goal.pk, 9, reason="none")
        with pytest.raises(BadInput, match="say in a few words"):
            services.pick_rollout(goal.pk, 2, reason=" ")
        Rollout.objects.filter(goal=goal, number=2).update(status="failed")
        with pytest.raises(BadInput, match="goal diff"):
            services.pick_rollout(goal.pk, 2, reason="I like it")
        Rollout.objects.filter(goal=goal, number=2).update(status="succeeded")
        with pytest.raises(IllegalMove, match="one rollout only"):
            services.pick_rollout(engine.goal("one").pk, 1, reason="x")
        with pytest.raises(IllegalMove, match="wait until it has ended"):
            services.pick_rollout(engine.goal("one", rollouts=2).pk, 1, reason="x")


def test_threads_that_end_at_once_select_exactly_one(engine: Engine) -> None:
    """Four reviews are answered at the same moment; the two strategies in turn."""
    for strategy in ("early_termination", "best_of_n"):
        barrier = threading.Barrier(4, timeout=20)

        def review(request: Request, barrier: threading.Barrier = barrier) -> Any:
            barrier.wait()
            return verdict("complete", request)

        engine.serve(writing(lambda r: "x\n", review))
        repo = engine.repository({"a.txt": "a\n"}, name=strategy)
        goal = engine.goal("one", repo=repo, checks=["test -f out.txt"], rollouts=4, strategy=strategy)
        goal = engine.work(goal, seconds=60)
        assert goal.status == "succeeded", story(goal)
        assert goal.selected.goal_id == goal.pk
        assert Event.objects.filter(goal=goal, kind="goal.status", new="succeeded").count() == 1

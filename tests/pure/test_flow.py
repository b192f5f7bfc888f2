"""What is next, as a table: one line a situation, read like what a team lead would say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestration.flow import (
    Action,
    CancelQueued,
    Candidate,
    FailStep,
    Finish,
    GoalDecision,
    GoalView,
    Revise,
    RolloutView,
    RunView,
    StartExam,
    StartPlan,
    StartReview,
    StartStep,
    StepView,
    VerdictView,
    Wait,
    decide_goal,
    next_actions,
)

ACTIONS = ("continue", "retry_same", "retry_with_changes", "gather_info", "replan", "complete", "stop")


def step(index: int, status: str = "pending", *needs: int, parallel: bool = True, priority: int = 5) -> StepView:
    return StepView(f"s{index}", index, status, needs, parallel, priority)


def ran(kind: str, status: str, of: int | None = None, **more: Any) -> RunView:
    return RunView(f"{kind}-{of}-{status}", kind, status, None if of is None else f"s{of}", **more)


def broke(kind: str, times: int, of: int | None = None, error: str = "transient") -> tuple[RunView, ...]:
    return tuple(ran(kind, "errored", of, error_kind=error, error="it broke") for _ in range(times))


def said_no(of: int, times: int = 1) -> tuple[RunView, ...]:
    return tuple(ran("step", "failed", of, error_kind="work", error="no") for _ in range(times))


def view(*steps: StepView, runs: tuple[RunView, ...] = (), **more: Any) -> RolloutView:
    return RolloutView(**{"status": "running", "revision": 1, "steps": steps, "runs": runs} | more)


def started(actions: tuple[Action, ...]) -> list[str]:
    return [action.step for action in actions if isinstance(action, StartStep)]


class TestPlanning:
    @pytest.mark.parametrize(
        ("runs", "expected"),
        [
            ((), StartPlan()),
            ((ran("plan", "running"),), Wait("a plan is being made")),
            (broke("plan", 1), StartPlan(delay=2)),
            (broke("plan", 2), StartPlan(delay=4)),
            (broke("plan", 3), StartPlan(delay=8)),
            (broke("plan", 4), Finish("failed", "no plan could be made: broke 4 times; the last: it broke")),
            (broke("plan", 1, error="permanent"), Finish("failed", "no plan could be made: it broke")),
            ((ran("plan", "cancelled"),), StartPlan()),
        ],
        ids=["first", "live", "2 s", "4 s", "8 s", "given up", "permanent", "cancelled says nothing"],
    )
    def test_without_a_plan(self, runs: tuple[RunView, ...], expected: Action) -> None:
        assert next_actions(view(runs=runs, status="planning", revision=0)) == (expected,)


class TestSteps:
    @pytest.mark.parametrize(
        ("steps", "live", "expected"),
        [
            ((step(0), step(1)), (), [0, 1]),
            ((step(0), step(1, "pending", 0)), (), [0]),
            ((step(0, "succeeded"), step(1, "pending", 0)), (), [1]),
            ((step(0, "skipped"), step(1, "pending", 0)), (), [1]),
            ((step(0), step(1, priority=9)), (), [1, 0]),
            ((step(0, parallel=False), step(1)), (), [0]),
            ((step(0), step(1, parallel=False), step(2)), (), [0]),
            ((step(0), step(1, priority=9, parallel=False)), (), [1]),
            ((step(0, "queued"), step(1, parallel=False)), (0,), []),
            ((step(0, "queued", parallel=False), step(1)), (0,), []),
            ((step(0, "queued"), step(1)), (0,), [1]),
            (tuple(step(n) for n in range(12)), (), list(range(8))),
        ],
        ids=[
            "two at once",
            "a dependency is not met",
            "a dependency is met",
            "skipped counts as met",
            "priority first",
            "one that must be alone is alone",
            "and is not overtaken by lower ones",
            "also by priority",
            "it waits until the others have ended",
            "nothing starts beside it",
            "another beside a live one",
            "as many as allowed",
        ],
    )
    def test_which_start(self, steps: tuple[StepView, ...], live: tuple[int, ...], expected: list[int]) -> None:
        runs = tuple(ran("step", "running", of) for of in live)
        assert started(next_actions(view(*steps, runs=runs))) == [f"s{n}" for n in expected]

    @pytest.mark.parametrize(
        ("runs", "expected"),
        [
            (broke("step", 1, 0), StartStep("s0", 2)),
            ((ran("step", "errored", 0, error_kind="transient", retry_after=20.0),), StartStep("s0", 20)),
            (said_no(0, 2), StartStep("s0", 0)),
            (said_no(0, 3), FailStep("s0", "failed 3 times; the last: no")),
            ((*broke("step", 3, 0), *said_no(0)), StartStep("s0", 0)),
            (tuple(ran("step", "failed", 0, error_kind="conflict") for _ in range(3)), StartStep("s0", 0)),
        ],
        ids=["broken", "asked to wait", "said no twice", "said no thrice", "each has its own count", "conflicts"],
    )
    def test_again(self, runs: tuple[RunView, ...], expected: Action) -> None:
        assert next_actions(view(step(0, "queued"), runs=runs)) == (expected,)

    @pytest.mark.parametrize("runs", [broke("step", 4, 0), broke("step", 1, 0, error="permanent")])
    def test_what_is_broken_for_good_ends_the_rollout(self, runs: tuple[RunView, ...]) -> None:
        queue, end = next_actions(view(step(0, "queued"), step(1), runs=runs))
        assert queue == CancelQueued()
        assert isinstance(end, Finish)
        assert end.status == "failed"

    def test_after_a_failed_step_the_others_end_and_a_review_follows(self) -> None:
        steps = (step(0, "failed"), step(1, "queued"), step(2))
        assert isinstance(next_actions(view(*steps, runs=(ran("step", "running", 1),)))[0], Wait)
        assert next_actions(view(step(0, "failed"), step(1, "succeeded"), step(2))) == (
            StartReview("step 0 failed for good"),
        )

    def test_all_done_is_reviewed(self) -> None:
        assert next_actions(view(step(0, "succeeded"), step(1, "skipped"))) == (StartReview(),)

    def test_steps_that_can_never_start_end_it(self) -> None:
        (end,) = next_actions(view(step(0, "cancelled"), step(1, "pending", 0)))
        assert isinstance(end, Finish)
        assert "can never start" in end.reason


class TestVerdicts:
    @pytest.mark.parametrize(
        ("action", "expected"),
        [
            ("continue", Finish("succeeded", "because", verified=True)),
            ("complete", Finish("succeeded", "because", verified=True)),
            ("stop", Finish("failed", "the review stopped it: because")),
            ("replan", StartPlan("because\n\nbetter", replan=True)),
            ("retry_same", Revise("retry_same", (1,), "")),
            ("retry_with_changes", Revise("retry_with_changes", (1,), "because\n\nbetter")),
            ("gather_info", Revise("gather_info", (1,), "because\n\nbetter")),
        ],
    )
    def test_each_does_what_it_says(self, action: str, expected: Action) -> None:
        verdict = VerdictView(action, (1, 99), "because", "better", proven=True)
        done = view(step(0, "succeeded"), step(1, "succeeded"), verdict=verdict, status="reviewing")
        assert next_actions(done) == (expected,)

    @pytest.mark.parametrize("action", ["replan", "retry_same", "retry_with_changes", "gather_info"])
    def test_each_that_goes_round_ends_at_its_cap(self, action: str) -> None:
        capped = view(step(0, "succeeded"), verdict=VerdictView(action), replans=3, review_rounds=3)
        (end,) = next_actions(capped)
        assert isinstance(end, Finish)
        assert end.status == "failed"

    def test_no_progress_ends_it_and_names_the_check(self) -> None:
        """The same check, failing as it did, after a second replan."""
        verdict = VerdictView("replan", reasoning="the plan was wrong", same_again="make test")
        (end,) = next_actions(view(step(0, "succeeded"), verdict=verdict, replans=2))
        assert isinstance(end, Finish)
        assert (end.status, end.reason.startswith("no progress: after 2 replans 'make test' fails")) == ("failed", True)

    @pytest.mark.parametrize("action", ["complete", "stop", "replan", "retry_same", "continue"])
    def test_a_verdict_that_asks_a_person_waits(self, action: str) -> None:
        waiting = view(step(0, "succeeded"), verdict=VerdictView(action, asks="its confidence is 20%"))
        assert next_actions(waiting) == (Wait("its confidence is 20%"),)

    def test_continue_goes_on_with_what_is_left_and_repeats_what_failed(self) -> None:
        left = view(step(0, "succeeded"), step(1), verdict=VerdictView("continue"))
        assert started(next_actions(left)) == ["s1"]
        failed = view(step(0, "failed"), verdict=VerdictView("continue"))
        assert next_actions(failed) == (Revise("retry_with_changes", (0,), ""),)


class TestReviewOfEachStep:
    @pytest.mark.parametrize(
        ("runs", "expected"),
        [
            ((), ["s1"]),
            ((ran("step", "succeeded", 0),), [StartReview(between=True)]),
            ((ran("step", "succeeded", 0), ran("review", "running")), [Wait("the result is being reviewed")]),
            ((ran("step", "succeeded", 0), ran("review", "succeeded")), ["s1"]),
            ((ran("step", "succeeded", 0), *broke("review", 1)), [StartReview(delay=2, between=True)]),
        ],
        ids=["carried over", "done", "being reviewed", "reviewed", "its review broke"],
    )
    def test_nothing_new_starts_before_it(self, runs: tuple[RunView, ...], expected: list[object]) -> None:
        seen = view(step(0, "succeeded"), step(1, "pending", 0), runs=runs, review_each_step=True)
        assert [getattr(action, "step", action) for action in next_actions(seen)] == expected

    def test_what_runs_beside_it_ends_first(self) -> None:
        runs = (ran("step", "succeeded", 0), ran("step", "running", 1))
        seen = view(step(0, "succeeded"), step(1, "queued"), step(2), runs=runs, review_each_step=True)
        assert next_actions(seen) == (Wait("1 step(s) are ending before a review"),)

    def test_after_the_last_step_the_review_is_the_final_one(self) -> None:
        runs = (ran("step", "succeeded", 0), ran("review", "succeeded"), ran("step", "succeeded", 1))
        seen = view(step(0, "succeeded"), step(1, "succeeded"), runs=runs, review_each_step=True)
        assert next_actions(seen) == (StartReview(),)


class TestGates:
    @pytest.mark.parametrize("verdict", [None, *map(VerdictView, ACTIONS)])
    def test_a_pause_begins_nothing(self, verdict: VerdictView | None) -> None:
        assert next_actions(view(step(0), verdict=verdict, gate="paused")) == (Wait("the goal is paused"),)

    def test_cancel_ends_what_is_queued_and_waits_for_what_runs(self) -> None:
        both = view(step(0), runs=(ran("step", "queued", 0), ran("step", "running", 1)), gate="cancelling")
        assert next_actions(both) == (CancelQueued(), Wait("1 run(s) are stopping"))
        assert next_actions(replace(both, runs=())) == (Finish("cancelled", "cancelled"),)

    @pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
    def test_what_has_ended_stays_as_it_is(self, status: str) -> None:
        assert next_actions(view(step(0), status=status)) == ()


def race(*rollouts: Candidate, strategy: str = "early_termination", gate: Any = "open") -> GoalDecision:
    return decide_goal(GoalView("running", gate, strategy, rollouts))


def attempt(number: int, status: str, verified: bool = False, lines: int | None = 5, ended: int = 0) -> Candidate:
    return Candidate(f"r{number}", number, status, verified, lines, ended, f"why {number}")


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (("awaiting_approval", "queued"), "awaiting_approval"),
        (("awaiting_approval", "running"), "running"),
        (("awaiting_approval", "planning"), "planning"),
        (("queued", "failed"), "queued"),
    ],
)
def test_a_goal_is_as_its_furthest_rollout_and_one_that_has_not_begun_hides_no_wait(
    statuses: tuple[str, ...], expected: str
) -> None:
    assert race(*(attempt(n, status) for n, status in enumerate(statuses, 1))).status == expected


FIRST = "Rollout 2 was the first verified success."
BEST = "best_of_n"


class TestTies:
    """Two that are equal in all that is measured: a judge is asked, and whatever becomes of that, one is selected in the end."""

    EQUAL = (attempt(1, "succeeded", True), attempt(2, "succeeded", True), attempt(3, "failed"))

    def decide(self, *judges: RunView, gate: Any = "open", votes: int = 0) -> GoalDecision:
        one, two, three = self.EQUAL
        return decide_goal(GoalView("running", gate, BEST, (one, replace(two, votes=votes), three), judges=judges))

    def test_a_judge_is_asked_about_those_that_are_equal(self) -> None:
        assert self.decide() == GoalDecision("reviewing", judge=("r1", "r2"))
        assert self.decide(ran("judge", "cancelled")) == GoalDecision("reviewing", judge=("r1", "r2"))

    def test_it_is_waited_for(self) -> None:
        assert self.decide(ran("judge", "running")) == GoalDecision("reviewing")

    def test_its_votes_decide(self) -> None:
        decided = self.decide(ran("judge", "succeeded"), votes=2)
        assert (decided.status, decided.selected) == ("succeeded", "r2")
        assert "preferred it 2 times" in decided.because

    def test_without_votes_the_lower_number_does(self) -> None:
        assert self.decide(ran("judge", "succeeded")).selected == "r1"

    def test_one_that_broke_is_asked_again_and_given_up(self) -> None:
        assert self.decide(*broke("judge", 1)) == GoalDecision("reviewing", judge=("r1", "r2"), delay=2)
        decided = self.decide(*broke("judge", 4))
        assert (decided.status, decided.selected) == ("succeeded", "r1")
        assert self.decide(*broke("judge", 1, error="permanent")).selected == "r1"

    def test_a_person_is_obeyed_meanwhile(self) -> None:
        assert self.decide(gate="paused") == GoalDecision("paused")
        assert self.decide(gate="cancelling") == GoalDecision("cancelled", "cancelled")

    def test_early_termination_asks_nobody(self) -> None:
        one, two, _ = (replace(candidate, verified=False) for candidate in self.EQUAL)
        assert race(one, two).selected == "r1"


class TestCleanRoom:
    COMPLETE = VerdictView("complete", reasoning="looks good", proven=True)

    def test_a_candidate_is_examined_before_it_succeeds(self) -> None:
        assert next_actions(view(step(0, "succeeded"), verdict=self.COMPLETE, examined=True)) == (
            StartExam("looks good"),
        )

    @pytest.mark.parametrize(
        ("runs", "expected"),
        [
            ((ran("exam", "running"),), Wait("the result is examined in a clean room")),
            (
                (ran("exam", "succeeded", passed=True, proven=True, said="looks good"),),
                Finish("succeeded", "looks good", verified=True),
            ),
            ((ran("exam", "succeeded", passed=True, said="looks good"),), Finish("succeeded", "looks good")),
            ((ran("exam", "succeeded", said="'make' fails"),), Finish("failed", "in the clean room: 'make' fails")),
            (broke("exam", 1), StartExam(delay=2)),
            (
                broke("exam", 1, error="permanent"),
                Finish("failed", "the result could not be examined in a clean room: it broke"),
            ),
        ],
    )
    def test_its_word_is_the_last_one(self, runs: tuple[RunView, ...], expected: Action) -> None:
        assert next_actions(view(step(0, "succeeded"), runs=runs, examined=True)) == (expected,)


class TestStart:
    def test_it_waits_for_its_turn_or_never_starts(self) -> None:
        assert next_actions(view(status="queued", revision=0, waits="not yet")) == (Wait("not yet"),)
        assert next_actions(view(status="queued", revision=0, refused="too dear")) == (Finish("cancelled", "too dear"),)
        stopped = view(status="queued", revision=0, waits="not yet", gate="cancelling")
        assert next_actions(stopped) == (Finish("cancelled", "cancelled"),)


class TestGoal:
    def test_the_first_verified_success_ends_the_others(self) -> None:
        late, first, open_ = (
            attempt(1, "succeeded", True, ended=2),
            attempt(2, "succeeded", True, ended=1),
            attempt(3, "running"),
        )
        assert race(late, first, open_) == GoalDecision("cancelling", "why 2", "r2", True, ("r3",), FIRST)

    def test_the_goal_waits_until_the_end_of_its_losers_is_confirmed(self) -> None:
        tried = GoalView(
            "cancelling", "open", "early_termination", (attempt(1, "succeeded", True), attempt(2, "cancelled"))
        )
        decided = GoalDecision("cancelling", "why 1", "r1", True, because="Rollout 1 was the first verified success.")
        assert decide_goal(replace(tried, held=True)) == decided
        assert decide_goal(tried) == replace(decided, status="succeeded")

    def test_an_unverified_success_ends_nobody_early(self) -> None:
        assert race(attempt(1, "succeeded"), attempt(2, "running")) == GoalDecision("running")

    def test_the_best_is_verified_then_small_then_early(self) -> None:
        tried = (
            attempt(1, "succeeded", False, 1),
            attempt(2, "succeeded", True, 9),
            attempt(3, "succeeded", True, 4),
            attempt(4, "succeeded", True, 5),
            attempt(5, "succeeded", True, None),
        )
        assert race(*tried, strategy="best_of_n").selected == "r3"
        assert race(*tried, attempt(6, "running"), strategy="best_of_n").selected is None

    @pytest.mark.parametrize(
        ("statuses", "gate", "expected"),
        [
            (("queued",), "open", "queued"),
            (("planning", "queued"), "open", "planning"),
            (("planning", "running"), "open", "running"),
            (("running", "reviewing"), "open", "reviewing"),
            (("running",), "paused", "paused"),
            (("running",), "cancelling", "cancelling"),
            (("cancelled",), "cancelling", "cancelled"),
            (("cancelled", "cancelled"), "open", "cancelled"),
            (("failed", "failed"), "open", "failed"),
            (("failed", "cancelled"), "open", "failed"),
            (("failed", "succeeded"), "open", "succeeded"),
        ],
    )
    def test_its_status_follows_from_its_rollouts(self, statuses: tuple[str, ...], gate: str, expected: str) -> None:
        rollouts = [attempt(n, status) for n, status in enumerate(statuses, 1)]
        assert race(*rollouts, gate=gate).status == expected

"""Review policies, as a goal meets them: who is asked, when, and what ends a goal that makes no progress."""

from __future__ import annotations

import re
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.test import override_settings
from django.utils import timezone

from agents.llm.demo_model import brief_in
from orchestration import services
from orchestration.errors import BadInput, IllegalMove
from orchestration.models import Event, Goal, Plan, Review, Run
from orchestration.selectors.goal_page import why_of
from orchestration.selectors.replans import replan_of
from orchestration.services.submitting import WISHES
from tests.support.audit import all_holds
from tests.support.engine import Engine
from tests.support.installation import story
from tests.support.models import Request, call, role, say, step, turn, verdict, writes_a_file

pytestmark = pytest.mark.long


class Counting:
    """How often each role began a conversation."""

    def __init__(self, answerer: Any = writes_a_file) -> None:
        self.answerer, self.asked = answerer, Counter[str]()

    def __call__(self, request: Request) -> dict[str, Any]:
        self.asked[role(request)] += turn(request) == 0
        return self.answerer(request)  # type: ignore[no-any-return]


def worked(engine: Engine, model: Any, text: str = "one", **more: Any) -> Goal:
    engine.serve(model)
    return engine.work(engine.goal(text, **more))


@pytest.mark.parametrize(
    ("policy", "asked"),
    [({}, 1), ({"reviewed_by": "deterministic"}, 0), ({"review_when": "on_failure"}, 0)],
)
def test_where_the_checks_prove_it_a_model_is_asked_only_if_the_policy_says_so(
    engine: Engine, policy: dict[str, Any], asked: int
) -> None:
    model = Counting()
    goal = worked(engine, model, checks=["test -f note-0.txt"], review=policy)
    assert (goal.status, goal.verified) == ("succeeded", True), story(goal)
    assert model.asked["reviewer"] == asked
    assert Review.objects.get().evidence


def test_without_checks_the_deterministic_verdict_is_unverified_and_sure_of_nothing(engine: Engine) -> None:
    goal = worked(engine, writes_a_file, review={"reviewed_by": "deterministic"})
    assert (goal.status, goal.verified) == ("succeeded", False)
    assert Review.objects.get().confidence == 0


def test_checks_alone_send_work_back_with_what_failed_until_the_cap(engine: Engine) -> None:
    briefs: list[str] = []

    def model(request: Request) -> dict[str, Any]:
        if role(request) == "executor" and turn(request) == 0:
            briefs.append(str(brief_in(request["messages"])))
        return writes_a_file(request)

    goal = worked(
        engine, model, checks=["echo where is gold.txt; test -f gold.txt"], review={"reviewed_by": "deterministic"}
    )
    assert goal.status == "failed"
    assert "3 times without success" in goal.reason
    assert "where is gold.txt" in briefs[1], "what failed reaches the next brief"


def test_each_step_is_reviewed_and_what_is_still_to_come_may_fail_meanwhile(engine: Engine) -> None:
    shown: list[list[str]] = []

    def model(request: Request) -> dict[str, Any]:
        if role(request) == "planner":
            return say({"steps": [step(0, "one"), step(1, "two", dependencies=[0])]})
        if role(request) != "reviewer":
            return writes_a_file(request)
        shown.append(brief_in(request["messages"]).get("still_to_come", []))
        return verdict("continue" if shown[-1] else "complete", request)

    goal = worked(engine, model, "one\ntwo", checks=["test -f note-1.txt"], review={"review_when": "each_step"})
    assert goal.verified, story(goal)
    assert [len(steps) for steps in shown] == [1, 0]
    assert Review.objects.count() == 2
    order = [run.kind for run in Run.objects.order_by("queued_at") if run.kind != "plan"]
    assert order == ["step", "review", "step", "review"]


def replans(request: Request) -> dict[str, Any]:
    return verdict("replan", request) if role(request) == "reviewer" else writes_a_file(request)


def test_two_replans_that_leave_a_check_failing_as_it_did_end_the_goal(engine: Engine) -> None:
    goal = worked(engine, replans, checks=["echo no gold in $RANDOM; test -f gold.txt"])
    assert goal.status == "failed"
    assert goal.reason.startswith("no progress: after 2 replans"), goal.reason
    assert goal.rollouts.get().replans == 2


def test_a_replan_says_what_it_kept_and_dropped_and_what_that_had_cost(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    def model(request: Request) -> dict[str, Any]:
        first = Run.objects.filter(kind="plan").count() == 1
        if role(request) == "planner":
            steps = [step(0, "one"), step(1, "hit it with a hammer", dependencies=[0])]
            return say({"steps": steps if first else [step(0, "call a joiner about that nail")]})
        if role(request) == "reviewer":
            return verdict("replan" if first else "complete", request)
        if brief_in(request["messages"])["step"]["description"].startswith("hit"):
            return call("finish", success=False, summary="no hammer", evidence=[])
        return writes_a_file(request)

    goal = worked(engine, model)
    assert goal.status == "succeeded", story(goal)
    call_command("goal", "show", goal.short_id)
    told = re.search("of the revision before: steps kept 0; dropped 1; new 0; ([0-9]+) tokens", capsys.readouterr().out)
    assert told is not None
    assert int(told[1]) > 0
    page = replan_of(Plan.objects.latest("revision"))
    assert page.startswith(told[0].removeprefix("of the revision before: ")), "the page says the same"


@override_settings(NO_PROGRESS_ENDS=False)
def test_that_cap_can_be_switched_off_and_the_cap_of_replans_still_ends_it(engine: Engine) -> None:
    goal = worked(engine, replans, checks=["test -f gold.txt"])
    assert goal.reason.startswith("3 replans did not help"), goal.reason


def test_an_executor_that_does_and_undoes_is_stuck(engine: Engine) -> None:
    def model(request: Request) -> dict[str, Any]:
        if role(request) == "reviewer":
            return verdict("stop", request)
        if role(request) == "planner":
            return writes_a_file(request)
        return call("run_command", command=f"date +%N > n; ls; echo {turn(request) % 2}")

    with override_settings(STUCK={"repeats": 0, "pairs": 3, "silences": 3}):
        goal = worked(engine, model)
    run = Run.objects.filter(kind="step").last()
    assert run is not None
    assert goal.status == "failed"
    assert "again and again" in run.error, story(goal)


class TestAPersonHasTheLastWord:
    def waiting(
        self, engine: Engine, policy: dict[str, Any], check: str = "test -f note-0.txt", **options: Any
    ) -> Goal:
        engine.serve(writes_a_file)
        goal = engine.goal("one", checks=[check], review=policy, **options)
        engine.work(goal, until=lambda: Review.objects.exclude(asks="").exists())
        return goal

    @pytest.mark.parametrize(
        ("policy", "why"),
        [
            ({"reviewed_by": "human"}, "judged by a person"),
            ({"reviewed_by": "llm_then_human"}, "the last word"),
            ({"ask_below": 0.95}, "90%, below the 95%"),
        ],
    )
    def test_it_waits_and_says_so_and_the_decision_of_a_proven_result_is_verified(
        self, engine: Engine, policy: dict[str, Any], why: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        goal = self.waiting(engine, policy)
        services.advance_goal(goal.pk)
        goal.refresh_from_db()
        assert goal.status == "reviewing"
        assert why in why_of(goal), "the page's sentence"
        call_command("goal", "show", goal.short_id)
        said = capsys.readouterr().out
        assert f"goal override {goal.short_id} complete --reason WHY" in said
        assert "  reviewed once, on the result, by " in said
        Goal.objects.filter(pk=goal.pk).update(created_at=timezone.now() - timedelta(days=2))
        all_holds()  # the audit knows whom it waits for
        services.override_verdict(goal.pk, "complete", by="ada", reason="I looked at it")
        goal.refresh_from_db()
        assert (goal.status, goal.verified, goal.unverified_by) == ("succeeded", True, "")

    def test_a_person_may_send_it_back_with_words_that_reach_the_next_brief(self, engine: Engine) -> None:
        goal = self.waiting(engine, {"reviewed_by": "human"})
        told: list[str] = []

        def model(request: Request) -> dict[str, Any]:
            if role(request) == "executor":
                told.append(str(request["messages"]))
            return writes_a_file(request)

        engine.serve(model)
        services.override_verdict(goal.pk, "retry_with_changes", by="ada", reason="too short", changes="Write a poem.")
        engine.work(goal, until=lambda: Review.objects.exclude(asks="").count() == 2)
        assert "Write a poem." in told[0]

    def test_the_housekeeper_leaves_it_alone_and_its_hours_do_not_count(self, engine: Engine) -> None:
        goal = self.waiting(engine, {"reviewed_by": "human"})
        late = timezone.now() - timedelta(hours=1)
        Goal.objects.filter(pk=goal.pk).update(deadline_at=late)
        Review.objects.update(created_at=timezone.now() - timedelta(hours=3))
        seen = Event.objects.filter(goal=goal).count()
        services.sweep()
        goal.refresh_from_db()
        assert (goal.status, Event.objects.filter(goal=goal).count()) == ("reviewing", seen)
        decided = services.override_verdict(goal.pk, "retry_same", by="ada", reason="once more")
        assert decided.deadline_at > timezone.now() + timedelta(hours=1)

    def test_nobody_decides_in_time_and_the_goal_ends(self, engine: Engine) -> None:
        goal = self.waiting(engine, {"reviewed_by": "human"}, approval={"hours": 2})
        review = Review.objects.get()
        assert review.expires_at is not None
        assert timedelta(minutes=119) < review.expires_at - review.created_at < timedelta(minutes=121)
        assert "Without a decision the goal ends at" in why_of(goal)
        Review.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        assert services.sweep()["verdicts"] == 1
        assert services.sweep()["verdicts"] == 0
        goal.refresh_from_db()
        assert goal.status == "failed"
        assert "nobody decided about the verdict complete until" in goal.reason
        with pytest.raises(IllegalMove, match="what is over does not change"):
            services.override_verdict(goal.pk, "complete", by="ada", reason="I was away")

    def test_nobody_decides_in_time_and_the_goal_pauses_and_asks_on(self, engine: Engine) -> None:
        goal = self.waiting(engine, {"reviewed_by": "human"}, approval={"on_expiry": "pause"})
        Review.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        services.sweep()
        goal.refresh_from_db()
        assert (goal.status, goal.reason) == ("paused", "nobody decided about a verdict in time")
        services.resume_goal(goal.pk)
        assert services.sweep()["verdicts"] == 0, "it has its hours once more"
        services.override_verdict(goal.pk, "complete", by="ada", reason="I looked at it")
        goal.refresh_from_db()
        assert (goal.status, goal.verified) == ("succeeded", True)

    def test_the_same_decision_twice_throws_nothing_away(self, engine: Engine) -> None:
        goal = self.waiting(engine, {"reviewed_by": "human"})
        said: dict[str, Any] = {"by": "ada", "reason": "too short", "changes": "Write a poem."}
        services.override_verdict(goal.pk, "retry_with_changes", **said)
        runs = list(Run.objects.filter(goal=goal).values_list("pk", "status"))
        with pytest.raises(IllegalMove, match="ada has said this already"):
            services.override_verdict(goal.pk, "retry_with_changes", **said)
        assert list(Run.objects.filter(goal=goal).values_list("pk", "status")) == runs
        services.override_verdict(goal.pk, "stop", by="bob", reason="no poem")
        goal.refresh_from_db()
        assert goal.status == "failed"

    @pytest.mark.parametrize("by", ["deterministic", "human"])
    def test_between_steps_what_is_still_to_come_may_fail_without_a_model_too(self, engine: Engine, by: str) -> None:
        engine.serve(self.chain)
        policy = {"review_when": "each_step", "reviewed_by": by}
        goal = engine.goal("one", checks=["test -f note-1.txt"], review=policy)
        waiting = Review.objects.filter(acted=False).exclude(asks="")
        for action in ("continue", "complete") if by == "human" else ():
            engine.work(goal, until=waiting.exists)
            assert waiting.get().action == action
            services.override_verdict(goal.pk, action, by="ada", reason="looks good")
        engine.work(goal)
        assert goal.verified, story(goal)
        assert goal.rollouts.get().review_rounds == 0

    @staticmethod
    def chain(request: Request) -> dict[str, Any]:
        if role(request) == "planner":
            return say({"steps": [step(0, "one"), step(1, "two", dependencies=[0])]})
        return writes_a_file(request)

    def test_what_a_check_refutes_stays_unverified_when_a_person_accepts_it(self, engine: Engine) -> None:
        goal = self.waiting(engine, {"reviewed_by": "human"}, check="test -f gold.txt")
        services.override_verdict(goal.pk, "complete", by="ada", reason="good enough")
        goal.refresh_from_db()
        assert (goal.status, goal.verified, goal.unverified_by) == ("succeeded", False, "ada")


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"review_when": "sometimes"}, "unknown review_when 'sometimes'; there are final, each_step, on_failure"),
        ({"reviewed_by": "cat"}, "unknown reviewed_by 'cat'"),
        ({"ask_below": 1.5}, "ask_below must be a number from 0 to 1"),
        ({"ask_below": float("nan")}, "ask_below must be a number from 0 to 1"),
        ({"ask_below": True}, "ask_below must be a number from 0 to 1"),
        ({"who": 1}, "unknown review policy 'who'"),
    ],
)
@pytest.mark.django_db
def test_what_no_policy_knows_is_refused(policy: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        services.submit_goal("one", review=policy)
    assert not Goal.objects.exists()
    assert not Event.objects.exists()


def test_a_follow_up_and_a_retry_ask_for_what_the_first_goal_asked_for(engine: Engine) -> None:
    """A goal whose last word a person has must not lose that on the way."""
    wish: dict[str, Any] = {
        "repo": engine.repository({"a.txt": "a\n"}),
        "checks": ["test -f note-0.txt"],
        "hidden_checks": ["true"],
        "allow_check_edits": True,
        "rollouts": 2,
        "diversity": [{"hint": "direct"}],
        "stagger": 5,
        "review": {"review_when": "on_failure", "reviewed_by": "deterministic", "ask_below": 0.2},
        "approval": {"policy": "never", "hours": 5},
    }
    goal = worked(engine, writes_a_file, **wish)
    for other in (services.follow_up(goal.pk, "more"), services.retry_goal(goal.pk)):
        assert {name: getattr(other, name) for name in WISHES} == {name: getattr(goal, name) for name in WISHES}
        services.cancel_goal(other.pk)


def test_each_column_of_a_goal_is_a_wish_or_known_to_be_none() -> None:
    own = {"id", "text", "context", "base_ref", "base_sha", "base_bundle", "status", "reason", "paused_cap", "stuck"}
    own |= {"finishes_running", "verified", "unverified_by", "selected", "selected_by", "selected_reason", "model"}
    own |= {
        "only",
        "task_id",
        "plan_only",
        "retry_of",
        "follow_up_of",
        "submitted_by",
        "origin",
        "event_seq",
        "version",
    }
    own |= {"created_at", "started_at", "deadline_at", "cancelled_at", "ended_at", "in_line_since", "forecast"}
    columns = {field.name for field in Goal._meta.concrete_fields} - {"team"} | {"team_id"}
    assert columns == own | set(WISHES), "add a new option to WISHES, or retries and follow-ups lose it"

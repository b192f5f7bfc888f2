"""A person overrules: a step is left out or done by hand, a verdict is another one; told with name and reason."""

from __future__ import annotations

import pytest

from orchestration import services, story
from orchestration.errors import BadInput, IllegalMove
from orchestration.models import Event, Goal, Review, Run, Step
from orchestration.selectors.goal_page import why_of
from tests.support.engine import Engine
from tests.support.installation import until
from tests.support.models import Answer, Gated, Request, brief_in, role, say, step, verdict, writes_a_file

pytestmark = pytest.mark.long


def chain(request: Request) -> Answer:
    if role(request) == "planner":
        steps = [step(0, "zero"), step(1, "one", dependencies=[0]), step(2, "two", dependencies=[1])]
        return say({"steps": steps})
    return writes_a_file(request)


def at_step(engine: Engine) -> tuple[Goal, Gated, Run]:
    """Step 0 is at work."""
    gate = Gated("executor", answerer=chain)
    engine.serve(gate)
    goal = engine.goal("x")
    assert until(lambda: engine.worker.claim_idle() >= 0 and gate.reached.is_set(), 20)
    return goal, gate, Run.objects.get(goal=goal, status="running")


def statuses(goal: Goal) -> list[str]:
    return list(Step.objects.filter(plan__rollout__goal=goal).order_by("index").values_list("status", flat=True))


def test_a_step_that_runs_is_skipped_and_what_its_worker_reports_is_refused(engine: Engine) -> None:
    goal, gate, run = at_step(engine)
    with pytest.raises(BadInput, match="why"):
        services.skip_step(goal.pk, 0, by="ada", reason=" ")
    services.skip_step(goal.pk, 0, by="ada", reason="not needed")
    assert statuses(goal) == ["skipped", "queued", "pending"]
    engine.worker._heartbeat()
    gate.open()
    goal = engine.work(goal)
    run.refresh_from_db()
    assert (goal.status, run.status, statuses(goal)) == (
        "succeeded",
        "cancelled",
        ["skipped", "succeeded", "succeeded"],
    )
    told = Event.objects.get(goal=goal, kind="step.skipped")
    assert (told.by, told.reason) == ("ada", "not needed")
    with pytest.raises(IllegalMove, match="does not change"):
        services.skip_step(goal.pk, 1, by="ada", reason="x")


def test_a_step_that_a_person_did_counts_as_done(engine: Engine) -> None:
    goal, gate, _ = at_step(engine)
    services.mark_done(goal.pk, 1, by="ada", reason="did it on main")
    with pytest.raises(IllegalMove, match="step 1 is succeeded already"):
        services.skip_step(goal.pk, 1, by="ada", reason="x")
    with pytest.raises(BadInput, match="no step 9"):
        services.skip_step(goal.pk, 9, by="ada", reason="x")
    gate.open()
    goal = engine.work(goal)
    assert (goal.status, statuses(goal)) == ("succeeded", ["succeeded"] * 3)
    assert not Run.objects.filter(goal=goal, step__index=1).exists()
    assert Step.objects.get(plan__rollout__goal=goal, index=1).summary == "done by hand by ada: did it on main"


def sent_back(engine: Engine) -> tuple[Goal, Gated]:
    """The review sent step 0 back, and it is at work again."""
    reviewed: list[int] = []

    def answer(request: Request) -> Answer:
        if role(request) == "reviewer" and not reviewed:
            reviewed.append(1)
            return verdict("retry_with_changes", request, suggested_changes="louder", steps=[0])
        return writes_a_file(request)

    def again(request: Request) -> Answer:
        return gate(request) if brief_in(request["messages"]).get("guidance") else answer(request)

    gate = Gated("executor", answerer=answer)
    engine.serve(again)
    goal = engine.goal("one")
    return engine.work(goal, until=gate.reached.is_set), gate


def test_a_person_accepts_what_the_review_sent_back_and_it_is_unverified_with_their_name(engine: Engine) -> None:
    goal, gate = sent_back(engine)
    goal = services.override_verdict(goal.pk, "complete", by="ada", reason="loud enough")
    gate.open()
    assert (goal.status, goal.verified, goal.unverified_by) == ("succeeded", False, "ada")
    assert story.headline(goal) == "succeeded, unverified, accepted by ada"
    assert why_of(goal).startswith("ada accepted it against the review: loud enough.")
    assert goal.selected is not None
    assert goal.selected.patch is not None
    mine = Review.objects.get(by="ada")
    assert (mine.action, mine.reasoning, mine.acted, mine.proven) == ("complete", "loud enough", True, False)
    told = Event.objects.get(goal=goal, kind="review.overridden")
    assert (told.by, told.old, told.new, told.reason) == ("ada", "retry_with_changes", "complete", "loud enough")
    assert until(lambda: not engine.worker.active.busy, 20)


def test_a_person_wants_another_thing_done_than_the_review(engine: Engine) -> None:
    goal, gate = sent_back(engine)
    with pytest.raises(BadInput, match="one of complete"):
        services.override_verdict(goal.pk, "perhaps", by="ada", reason="x")
    with pytest.raises(BadInput, match="no steps"):
        services.override_verdict(goal.pk, "retry_same", by="ada", reason="x", steps=[7])
    services.override_verdict(goal.pk, "retry_with_changes", by="ada", reason="quieter", changes="whisper")
    gate.open()
    newest = Step.objects.filter(rollout__goal=goal).latest("plan__revision")
    assert (newest.plan.revision, newest.guidance) == (3, "quieter\n\nwhisper")
    assert engine.work(goal).status == "succeeded"


def test_what_was_not_reviewed_as_it_is_now_is_not_accepted(engine: Engine) -> None:
    goal, gate, _ = at_step(engine)
    with pytest.raises(IllegalMove, match="no verdict to override"):
        services.override_verdict(goal.pk, "complete", by="ada", reason="fine")
    services.cancel_goal(goal.pk)
    gate.open()
    assert until(lambda: not engine.worker.active.busy, 20)

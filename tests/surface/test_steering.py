"""Messages and overrides as a person types them: in the panel, by the API, in the shell."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from agents.contracts import PlanDraft
from orchestration import dispatch, services
from orchestration.models import Goal, Message, Review, Step
from orchestration.services import Base
from orchestration.services.access import create_token
from orchestration.states import Queue
from tests.api.conftest import Api, expect_problem
from tests.support.people import member

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def goal(monkeypatch: pytest.MonkeyPatch) -> Goal:
    """Three steps in a row; the first is queued, and a review has said something about its commit."""
    monkeypatch.setattr(dispatch, "_publisher", dispatch.publish_nothing)
    made = services.submit_goal("x", by=member("ada"))
    run = services.pull(Queue.values, "w")
    assert run is not None
    services.record_base(run, Base("0" * 40, None, []))
    steps = [{"index": n, "description": f"s{n}", "dependencies": [n - 1] if n else []} for n in range(3)]
    services.record_plan(run, PlanDraft.model_validate({"steps": steps}))
    rollout = made.rollouts.get()
    Review.objects.create(rollout=rollout, plan=rollout.plans.get(), action="retry_same", commit="0" * 40, acted=True)
    return made


def statuses() -> list[str]:
    return list(Step.objects.filter(plan__revision=1).order_by("index").values_list("status", flat=True))


def test_in_the_panel(goal: Goal) -> None:
    grace, ada = Client(), Client()
    grace.force_login(member("grace", "approver"))
    ada.force_login(goal.submitted_by)
    at = f"/goals/{goal.pk}/act"
    assert ada.post(f"{at}/skip/", {"step": 0, "reason": "x"}).status_code == 403
    assert "act-override" not in ada.get(f"/goals/{goal.pk}/").content.decode()
    assert "act-override" in grace.get(f"/goals/{goal.pk}/").content.decode()
    assert "say which step" in grace.post(f"{at}/skip/", {"reason": "x"}, follow=True).content.decode()
    assert "in a few words why" in grace.post(f"{at}/skip/", {"step": 0}, follow=True).content.decode()
    assert "is left out" in grace.post(f"{at}/skip/", {"step": 0, "reason": "x"}, follow=True).content.decode()
    assert "counts as done" in grace.post(f"{at}/mark-done/", {"step": 1, "reason": "x"}, follow=True).content.decode()
    assert statuses() == ["skipped", "succeeded", "queued"]
    assert "It is sent" in ada.post(f"{at}/message/", {"text": "hello", "to": "planner"}, follow=True).content.decode()
    assert Message.objects.get().to == "plan"
    said = {"action": "complete", "reason": "good enough"}
    page = grace.post(f"{at}/override/", said, follow=True).content.decode()
    assert "grace accepted it against the review: good enough" in page


def test_by_the_api(goal: Goal) -> None:
    api, ada = Api(create_token(member("grace", "approver"), "t")[1]), Api(create_token(goal.submitted_by, "t")[1])
    at = f"/goals/{goal.pk}"
    expect_problem(ada.post(f"{at}/override", {"action": "complete", "reason": "x"}), 403)
    expect_problem(api.post(f"{at}/skip-step", {"step": 7, "reason": "x"}), 422)
    assert api.post(f"{at}/skip-step", {"step": 0, "reason": "x"}).status_code == 200
    assert api.post(f"{at}/mark-done", {"step": 1, "reason": "x"}).status_code == 200
    assert ada.post(f"{at}/message", {"text": "hello"}).status_code == 200
    expect_problem(ada.post(f"{at}/message", {"text": "hello", "to": "boss"}), 422)
    done = api.post(f"{at}/override", {"action": "complete", "reason": "x"}).json()
    assert (done["status"], done["headline"]) == ("succeeded", "succeeded, unverified, accepted by grace")
    assert done["unverified_by"] == "grace"


def shell(*words: Any) -> str:
    out = io.StringIO()
    call_command("goal", *words, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def test_in_the_shell(goal: Goal) -> None:
    name = goal.short_id
    assert "step 0 is skipped" in shell("skip", name, "0", "--reason", "x")
    assert "step 1 is succeeded" in shell("mark-done", name, "1", "--reason", "x")
    assert "planner's next model call" in shell("message", name, "hello", "--to", "planner")
    with pytest.raises(CommandError, match="no steps"):
        shell("override", name, "retry_same", "--step", "9", "--reason", "x")
    assert "accepted by shell" in shell("override", name, "complete", "--reason", "good enough")
    told = shell("show", name)
    assert "good enough" in told
    assert "hello" in told

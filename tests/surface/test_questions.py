"""A step's question, as the person meets it: in the panel, by the API, in the shell."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from agents.contracts import PlanDraft, StepOutcome
from agents.contracts import Question as Asked
from orchestration import dispatch, services
from orchestration.models import Question, Step
from orchestration.services import Base
from orchestration.services.access import create_token
from orchestration.states import Queue
from tests.api.conftest import Api, expect_problem
from tests.support.people import member

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def question(monkeypatch: pytest.MonkeyPatch) -> Question:
    monkeypatch.setattr(dispatch, "_publisher", dispatch.publish_nothing)
    services.submit_goal("x", by=member("ada"))
    run = services.pull(Queue.values, "w")
    assert run is not None
    services.record_base(run, Base("0" * 40, None, []))
    services.record_plan(run, PlanDraft.model_validate({"steps": [{"index": 4, "description": "paint"}]}))
    step = services.pull(Queue.values, "w")
    assert step is not None
    asked = Asked(text="<i>red</i> or green?", choices=["red", "green"], default="red")
    services.record_question(step, StepOutcome(success=False, stopped="asks", question=asked))
    return Question.objects.get()


def test_in_the_panel(question: Question) -> None:
    client, viewer = Client(), Client()
    client.force_login(question.goal.submitted_by)
    viewer.force_login(member("vera", "viewer"))
    text = client.get("/questions/").content.decode()
    assert "&lt;i&gt;red&lt;/i&gt; or green?" in text
    assert "Step 4 asks" in client.get(f"/goals/{question.goal_id}/").content.decode()
    at = f"/questions/{question.pk}/answer/"
    assert at not in viewer.get("/questions/").content.decode()
    assert viewer.post(at, {"answer": "red"}).status_code == 403
    assert "one of: red, green" in client.post(at, {"answer": "blue"}, follow=True).content.decode()
    assert "goes on with the answer" in client.post(at, {"answer": "green"}, follow=True).content.decode()
    again = client.post(at, {"answer": "red"}, follow=True)
    assert "Ada answered it already" in again.content.decode()
    assert Step.objects.get().status == "queued"


def test_by_the_api(question: Question) -> None:
    api = Api(create_token(question.goal.submitted_by, "t")[1])
    row = api.get("/questions?status=waiting").json()["results"][0]
    assert (row["step"], row["choices"], row["default"]) == (4, ["red", "green"], "red")
    expect_problem(api.post(f"/questions/{question.pk}/answer", {"answer": "blue"}), 422)
    first = api.post(f"/questions/{question.pk}/answer", {"answer": "green"}).json()
    second = api.post(f"/questions/{question.pk}/answer", {"answer": "red"}).json()
    assert [(a["first"], a["answer"], a["by"]) for a in (first, second)] == [
        (True, "green", "ada"),
        (False, "green", "ada"),
    ]


def shell(*words: Any) -> str:
    out = io.StringIO()
    call_command("goal", *words, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def test_in_the_shell(question: Question) -> None:
    name = question.goal.short_id
    assert f"manage.py goal answer {name} ANSWER --question {str(question.pk)[:8]}" in shell("show", name)
    with pytest.raises(CommandError, match="one of: red, green"):
        shell("answer", name, "blue")
    assert "goes on" in shell("answer", name, "green")
    assert "answered it already, with 'green'" in shell("answer", name, "red")
    assert "green (shell)" in shell("show", name)
    assert "green" in shell("handover", name)

"""The plan that waits for a person, as the person meets it: in the panel, by the API, in the shell."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from agents.contracts import PlanDraft
from orchestration import dispatch, services
from orchestration.models import Approval, Goal
from orchestration.services import Base
from orchestration.services.access import create_token
from orchestration.states import Queue
from tests.api.conftest import Api, expect_problem
from tests.support.people import member

pytestmark = pytest.mark.django_db(transaction=True)
PLAN = {"summary": "s", "steps": [{"index": 0, "description": "do <b>it</b>", "writes": ["src/**"]}]}


@pytest.fixture(autouse=True)
def nobody_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_publisher", dispatch.publish_nothing)


def waiting(**more: Any) -> Approval:
    """A goal of ada's whose plan is made; nobody worked on anything."""
    ada = member("ada")
    goal = services.submit_goal("x", by=ada, **({"approval": {"policy": "always"}} | more))
    run = services.pull(Queue.values, "w")
    assert run is not None
    services.record_base(run, Base("0" * 40, None, []))
    services.record_plan(run, PlanDraft.model_validate(PLAN))
    return Approval.objects.get(goal=goal, status="waiting")


def status(approval: Approval) -> str:
    return str(Goal.objects.get(pk=approval.goal_id).status)


def logged_in(name: str = "grace", role: str = "approver") -> Client:
    client = Client()
    client.force_login(member(name, role))
    return client


def test_in_the_panel_from_the_inbox_to_the_decision_and_the_second_click() -> None:
    approval, grace = waiting(), logged_in()
    page = f"/approvals/{approval.pk}/"
    assert page in grace.get("/approvals/").content.decode()
    assert page in grace.get(f"/goals/{approval.goal_id}/").content.decode()
    text = grace.get(page).content.decode()
    assert "do &lt;b&gt;it&lt;/b&gt;" in text
    assert approval.plan_sha256 in text
    stale = grace.post(f"{page}approve/", {"plan_sha256": "0" * 64})
    assert (stale.status_code, status(approval)) == (409, "awaiting_approval")
    assert "look at the plan again" in stale.content.decode()
    said = {"plan_sha256": approval.plan_sha256}
    without = grace.post(f"{page}reject/", said)
    assert (without.status_code, "why it is rejected" in without.content.decode()) == (422, True)
    assert "is approved" in grace.post(f"{page}approve/", said, follow=True).content.decode()
    assert status(approval) == "running"
    again = logged_in("linus").post(f"{page}reject/", said | {"reason": "no"}, follow=True)
    assert (again.status_code, "was approved by grace" in again.content.decode()) == (200, True)


def test_in_the_panel_an_edit_is_held_to_the_contract_and_keeps_what_was_typed() -> None:
    approval, grace = waiting(), logged_in()
    page = f"/approvals/{approval.pk}/"
    bad = grace.post(f"{page}edit/", {"plan_sha256": approval.plan_sha256, "plan": '{"steps": []}'})
    assert (bad.status_code, "{&quot;steps&quot;: []}" in bad.content.decode()) == (422, True)
    better = json.dumps({"steps": [{"index": 3, "description": "something else"}]})
    good = grace.post(f"{page}edit/", {"plan_sha256": approval.plan_sha256, "plan": better}, follow=True)
    assert "something else" in good.content.decode()
    assert grace.post(f"{page}approve/", {"plan_sha256": approval.plan_sha256}).status_code == 409
    assert Approval.objects.get(status="waiting").plan.revision == 2


def test_the_requester_under_four_eyes_is_told_so_on_the_page() -> None:
    approval = waiting(approval={"policy": "always", "four_eyes": True})
    services.change_role(approval.goal.submitted_by.memberships.get().pk, "approver", by="x")
    ada = Client()
    ada.force_login(approval.goal.submitted_by)
    answer = ada.post(f"/approvals/{approval.pk}/approve/", {"plan_sha256": approval.plan_sha256, "reason": "x"})
    assert (answer.status_code, "somebody else must approve it" in answer.content.decode()) == (403, True)


def test_by_the_api() -> None:
    approval = waiting()
    api = Api(create_token(member("grace", "approver"), "t")[1])
    at = f"/api/v1/approvals/{approval.pk}"
    row = api.get("/api/v1/approvals?status=waiting").json()["results"][0]
    assert (row["id"], row["scope"]["paths"]) == (str(approval.pk), ["src/**"])
    expect_problem(api.post(f"{at}/approve", {"plan_sha256": "f" * 64}), 409, "stale-approval")
    draft = api.get(at).json()["draft"]
    draft["steps"][0]["description"] = "gently"
    sent = {"plan_sha256": approval.plan_sha256}
    expect_problem(api.post(f"{at}/edit-plan", sent | {"plan": {"steps": [{"index": -1}]}}), 422)
    made = api.post(f"{at}/edit-plan", sent | {"plan": draft}).json()
    assert (made["revision"], made["status"]) == (2, "waiting")
    expect_problem(api.post(f"{at}/approve", sent), 409, "stale-approval")
    new = f"/api/v1/approvals/{made['id']}"
    first = api.post(f"{new}/reject", {"plan_sha256": made["plan_sha256"], "reason": "no"}).json()
    second = api.post(f"{new}/approve", {"plan_sha256": made["plan_sha256"]}).json()
    assert (first["first"], second["first"], second["status"], second["by"]) == (True, False, "rejected", "grace")
    assert status(approval) == "planning"


def test_a_goal_is_submitted_with_a_policy_by_the_api_and_a_bad_one_is_refused() -> None:
    api = Api(create_token(member("ada"), "t")[1])
    made = api.post("/api/v1/goals", {"text": "x", "approval": {"policy": "protected", "above_usd": "3"}}).json()
    assert (made["approval"]["policy"], made["approval"]["above_usd"], made["plan_only"]) == ("protected", "3", False)
    expect_problem(api.post("/api/v1/goals", {"text": "x", "approval": {"above_usd": "much"}}), 422)
    expect_problem(api.post("/api/v1/goals", {"text": "x", "approval": {"policy": "maybe"}}), 422)


def test_a_plan_only_goal_is_run_by_an_operator_in_the_panel_and_by_the_api() -> None:
    approval = waiting(approval={}, plan_only=True)
    ada = Client()
    ada.force_login(approval.goal.submitted_by)
    assert "Run this plan" in ada.get(f"/approvals/{approval.pk}/").content.decode()
    api = Api(create_token(approval.goal.submitted_by, "t")[1])
    assert api.post(f"/api/v1/goals/{approval.goal_id}/run-plan", {}).json()["status"] == "running"


def shell(*words: str) -> str:
    out = io.StringIO()
    call_command("goal", *words, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def test_in_the_shell_show_says_how_and_the_hash_must_be_said(tmp_path: Any) -> None:
    approval = waiting()
    name, sha = approval.goal.short_id, approval.plan_sha256[:12]
    assert f"manage.py goal approve {name} --plan {sha}" in shell("show", name)
    with pytest.raises(CommandError, match=f"--plan {sha}"):
        shell("approve", name)
    with pytest.raises(CommandError, match="what waits now"):
        shell("approve", name, "--plan", "00000000")
    draft = json.loads(shell("edit-plan", name, "--print"))
    draft["steps"][0]["description"] = "gently"
    (tmp_path / "plan.json").write_text(json.dumps(draft))
    assert "plan r2" in shell("edit-plan", name, "--plan", sha, "--file", str(tmp_path / "plan.json"))
    with pytest.raises(CommandError, match="edited by shell"):
        shell("approve", name, "--plan", sha)
    new = Approval.objects.get(status="waiting").plan_sha256[:12]
    assert "is approved" in shell("approve", name, "--plan", new)
    assert "was approved by shell" in shell("reject", name, "--plan", new, "--reason", "no")
    assert f"plan r2 ({new})" in shell("show", name)


def test_a_policy_is_typed_in_the_shell() -> None:
    shell("submit", "x", "--approve", "protected", "--protect", "deploy/**", "--four-eyes", "--on-expiry", "pause")
    policy = Goal.objects.get().approval
    assert (policy["policy"], policy["protected"], policy["four_eyes"]) == ("protected", ["deploy/**"], True)
    assert (policy["on_expiry"], policy["hours"]) == ("pause", 72)

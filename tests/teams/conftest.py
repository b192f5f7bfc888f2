"""A team with one of everything, and whoever looks at it: one of each role, and the admin of another team."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from orchestration import dispatch
from orchestration.models import ApiToken, Call, Goal, Membership, ModelPrice, Provider, RecurringGoal, Repository, Run
from orchestration.services.access import create_token
from orchestration.services.prices import set_price
from tests.support import rows
from tests.support.people import member


@pytest.fixture(autouse=True)
def nobody_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_publisher", dispatch.publish_nothing)


@dataclass(frozen=True)
class World:
    """The team "default"; ada is its admin."""

    ada: User
    goal: Goal
    schedule: RecurringGoal
    repository: Repository
    someone: Membership
    token: ApiToken
    provider: Provider

    def ids(self) -> dict[str, Any]:
        """By the names that the panel's addresses have for them."""
        return {
            "goal_id": self.goal.pk,
            "artifact_id": self.goal.artifacts.get(kind="patch").pk,
            "call_id": Call.objects.get(run__goal=self.goal, kind="command").pk,
            "run_id": Run.objects.get(goal=self.goal, step=None).pk,
            "schedule_id": self.schedule.pk,
            "team_id": self.goal.team_id,
            "member_id": self.someone.pk,
            "provider_id": self.provider.pk,
            "token_id": self.token.pk,
            "question_id": self.goal.questions.get().pk,
            "approval_id": self.goal.approvals.get().pk,
            "rollout": 1,
            "revision": 1,
            "index": 0,
        }

    def rows(self) -> dict[str, Any]:
        """By the names of the API's routes."""
        rollout = self.goal.rollouts.get()
        plan = rollout.plans.get()
        return {
            "goal": self.goal.pk,
            "rollout": rollout.pk,
            "plan": plan.pk,
            "step": plan.steps.get().pk,
            "run": self.ids()["run_id"],
            "call": self.ids()["call_id"],
            "review": rollout.reviews.get().pk,
            "artifact": self.ids()["artifact_id"],
            "repository": self.repository.pk,
            "schedule": self.schedule.pk,
            "team": self.goal.team_id,
            "member": self.someone.pk,
            "provider": self.provider.pk,
            "question": self.goal.questions.get().pk,
            "approval": self.goal.approvals.get().pk,
            "price": ModelPrice.objects.get(team=self.goal.team_id).pk,
        }


@pytest.fixture
def world(db: None, tmp_path: Path) -> World:
    ada = member("ada", "admin")
    place = rows.repository(tmp_path)
    goal, schedule = rows.worked_goal(ada, repo=place.pk), rows.schedule(ada, repo=place)
    set_price("qwen3-*", input_usd="0.9", output_usd="4.5", team=goal.team, by="ada")
    someone = Membership.objects.get(user=member("someone", "viewer"))
    provider = Provider.objects.create(name="venice", team=goal.team, base_url="http://127.0.0.1:9/v1")
    return World(ada, goal, schedule, place, someone, create_token(ada, "adas own")[0], provider)

"""Best-of-N where people and programs meet it: what can be declared, what is shown, and picking another result."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from orchestration import services
from orchestration.handover import markdown, packet
from orchestration.models import Event, Goal, RecurringGoal, Rollout
from orchestration.story import handed_over
from tests.api.conftest import Api, expect_problem
from tests.support import rows

VARIETY = [{"hint": "direct", "temperature": 0.2}, {"hint": "thorough", "model": "other"}]


@pytest.fixture
def ended(ada: User) -> Goal:
    """Two results; the first one is selected."""
    goal = services.submit_goal("x", by=ada, rollouts=3, strategy="best_of_n", diversity=VARIETY)
    now = timezone.now()
    won = goal.rollouts.filter(number__lt=3)
    won.update(status="succeeded", verified=True, ended_at=now, score=107.5, tokens=1234, changed_lines=5)
    goal.rollouts.filter(number=3).update(status="failed", ended_at=now, reason="in the clean room: <b>no</b>", score=0)
    Goal.objects.filter(pk=goal.pk).update(
        status="succeeded", verified=True, ended_at=now, selected=goal.rollouts.get(number=1),
        selected_by="engine", selected_reason="Rollout 1 <b>is</b> small.",
    )  # fmt: skip
    return Goal.objects.get(pk=goal.pk)


@pytest.fixture
def page(ada: User) -> Client:
    client = Client()
    client.force_login(ada)
    return client


def test_it_is_declared_and_shown(api: Api) -> None:
    asked = {"text": "x", "rollouts_wanted": 3, "strategy": "best_of_n", "diversity": VARIETY, "stagger_seconds": 60}
    shown = api.post("/goals", asked).json()
    assert (shown["diversity"], shown["stagger_seconds"]) == (VARIETY, 60)
    assert [(r["number"], r["hint"], r["temperature"], r["model"]) for r in shown["rollouts"]] == [
        (1, "direct", 0.2, ""),
        (2, "thorough", None, "other"),
        (3, "direct", 0.2, ""),
    ]
    assert (shown["selected"], shown["selected_by"], shown["selected_reason"]) == (None, "", "")


@pytest.mark.parametrize(
    ("more", "where"),
    [
        ({"diversity": [{"hint": "lazy"}]}, "/diversity/0/hint"),
        ({"diversity": [{"mood": "x"}]}, "/diversity/0/mood"),
        ({"diversity": [{"temperature": 3}]}, "/diversity/0/temperature"),
        ({"diversity": {}}, "/diversity"),
        ({"stagger_seconds": 0}, "/stagger_seconds"),
    ],
)
def test_a_wrong_shape_is_422_and_says_where(api: Api, more: dict[str, Any], where: str) -> None:
    found = expect_problem(api.post("/goals", {"text": "x", "rollouts_wanted": 2} | more), 422)
    assert any(error["pointer"].startswith(where) for error in found["errors"]), found["errors"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"diversity": [{}, {}]}, "2 variations are declared for 1"),
        ({"stagger_seconds": 5}, "nothing can be staggered"),
    ],
)
def test_what_does_not_fit_is_422_with_a_sentence(api: Api, more: dict[str, Any], said: str) -> None:
    assert said in expect_problem(api.post("/goals", {"text": "x"} | more), 422)["detail"]


def test_a_schedule_hands_it_on_to_its_goals(api: Api, ada: User) -> None:
    wanted = {
        "name": "n",
        "cron": "0 1 * * *",
        "text": "x",
        "rollouts_wanted": 2,
        "diversity": VARIETY,
        "stagger_seconds": 9,
    }
    made = api.post("/schedules", wanted).json()
    assert (made["diversity"], made["stagger_seconds"]) == (VARIETY, 9)
    goal = services.run_now(RecurringGoal.objects.get().pk, by="ada")
    assert (goal.diversity, goal.stagger_seconds) == (VARIETY, 9)
    assert expect_problem(api.ask("PATCH", f"/schedules/{made['id']}", {"stagger_seconds": 0}), 422)


def test_another_result_is_picked_by_a_program(api: Api, bobs: Api, ended: Goal) -> None:
    path = f"/goals/{ended.pk}/pick"
    expect_problem(bobs.post(path, {"rollout": 2, "reason": "mine"}), 404)
    expect_problem(api.post(path, {"rollout": 2}), 422)
    assert (
        "is failed and cannot be selected"
        in expect_problem(api.post(path, {"rollout": 3, "reason": "x"}), 422)["detail"]
    )
    shown = api.post(path, {"rollout": 2, "reason": "it is easier to read"}).json()
    second = ended.rollouts.get(number=2)
    assert (shown["selected"], shown["selected_by"], shown["selected_reason"]) == (
        str(second.pk),
        "ada",
        "it is easier to read",
    )
    assert (shown["status"], shown["ended_at"]) == ("succeeded", api.get(f"/goals/{ended.pk}").json()["ended_at"])
    expect_problem(api.post(path, {"rollout": 2, "reason": "again"}), 409)
    assert Event.objects.get(goal=ended, kind="goal.picked").by == "ada"
    open_goal = services.submit_goal("y", by=User.objects.get(username="ada"), rollouts=2)
    expect_problem(api.post(f"/goals/{open_goal.pk}/pick", {"rollout": 2, "reason": "x"}), 409)


def test_the_page_shows_the_choice_and_a_person_picks_another(page: Client, ended: Goal) -> None:
    address = reverse("orchestration:goal-detail", args=[ended.pk])
    shown = page.get(address).content.decode()
    assert "Rollout 1 &lt;b&gt;is&lt;/b&gt; small." in shown
    assert "in the clean room: &lt;b&gt;no&lt;/b&gt;" in shown
    assert "Score 107.5" in shown
    assert "Temperature 0.2" in shown
    assert 'id="act-pick"' in shown
    act = reverse("orchestration:goal-act", args=[ended.pk, "pick"])
    page.post(act, {"rollout": "2"})
    ended.refresh_from_db()
    assert ended.selected.number == 1, "without a reason nothing moves"
    assert (
        "The result is the one that you picked now"
        in page.post(act, {"rollout": "2", "reason": "clearer"}, follow=True).content.decode()
    )
    ended.refresh_from_db()
    assert (ended.selected.number, ended.selected_by) == (2, "ada")
    assert "Picked by ada" in page.get(address).content.decode()


def test_a_goal_with_one_rollout_offers_no_choice(page: Client, ada: User) -> None:
    goal = rows.worked_goal(ada)
    shown = page.get(reverse("orchestration:goal-detail", args=[goal.pk])).content.decode()
    assert 'id="pick"' not in shown
    assert 'id="act-pick"' not in shown


def test_the_form_declares_it_and_a_mistake_stays_in_it(page: Client) -> None:
    typed = {
        "key": "k",
        "text": "x",
        "rollouts": "2",
        "strategy": "best_of_n",
        "diversity": "direct\nhint=lazy",
        "stagger": "30",
    }
    answer = page.post(reverse("orchestration:goal-new"), typed)
    assert answer.status_code == 422
    assert "unknown hint" in answer.content.decode()
    assert "hint=lazy" in answer.content.decode()
    page.post(reverse("orchestration:goal-new"), typed | {"diversity": "direct temperature=0.5\ncreative"})
    goal = Goal.objects.get()
    assert (goal.diversity, goal.stagger_seconds) == (
        [{"hint": "direct", "temperature": 0.5}, {"hint": "creative"}],
        30,
    )
    again = page.get(f"{reverse('orchestration:goal-new')}?from={goal.pk}").content.decode()
    assert "hint=direct temperature=0.5\nhint=creative" in again


def test_the_handover_packet_says_why_and_how_sure(ended: Goal) -> None:
    handed = packet(handed_over(ended))
    assert (handed["choice"]["rollout"], handed["choice"]["by"]) == (1, "engine")
    assert [c["score"] for c in handed["choice"]["candidates"]] == [107.5, 107.5, 0]
    assert "Why this rollout (engine): Rollout 1 " in markdown(handed)
    assert "<b>" not in markdown(handed).replace("\\<", "")
    Goal.objects.filter(pk=ended.pk).update(status="failed", selected=None, selected_reason="")
    Rollout.objects.filter(goal=ended).update(status="failed")
    handed = packet(handed_over(Goal.objects.get(pk=ended.pk)))
    assert (handed["confidence"], handed["choice"]) == (0, None)
    assert "Confidence: 0%" in markdown(handed)

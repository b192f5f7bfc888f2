"""Teams as people meet them: the members' page, the choice in forms, the command, the API, the admin's actions."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from orchestration import services
from orchestration.models import Goal, Membership, RecurringGoal, Repository, Team, TeamEvent
from orchestration.services.access import create_token
from tests.api.conftest import Api, expect_problem
from tests.support import rows
from tests.support.people import join, member, outsider, team
from tests.teams.conftest import World


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


class TestMembersPage:
    def test_an_admin_takes_in_changes_and_removes_and_all_of_it_is_told(self, world: World) -> None:
        page, bob = browser(world.ada), User.objects.create_user("bob")
        address = reverse("orchestration:team-detail", args=[world.goal.team_id])
        add = reverse("orchestration:member-add", args=[world.goal.team_id])
        assert "bob is in the team, as viewer." in told(page, add, user="bob", role="viewer")
        held = Membership.objects.get(user=bob)
        assert "bob is operator now." in told(page, f"/members/{held.pk}/role/", role="operator")
        assert "bob is not in the team any more" in told(page, f"/members/{held.pk}/remove/")
        shown = page.get(address).content.decode()
        for line in ("member.added bob", "member.role bob from viewer to operator", "member.removed bob from operator"):
            assert f"ada: {line}" in shown

    def test_what_cannot_be_is_said_on_the_page(self, world: World) -> None:
        page = browser(world.ada)
        add = reverse("orchestration:member-add", args=[world.goal.team_id])
        assert "there is no user" in told(page, add, user="<script>alert(1)</script>", role="viewer")
        assert "<script>alert" not in told(page, add, user="<script>alert(1)</script>", role="viewer")
        assert "unknown role" in told(page, add, user="ada", role="king")
        own = Membership.objects.get(user=world.ada)
        for verb in ("role", "remove"):
            assert "is the last admin of the team" in told(page, f"/members/{own.pk}/{verb}/", role="viewer")

    def test_who_leaves_is_shown_the_list(self, world: World) -> None:
        join(User.objects.create_user("grace"), "admin")
        own = Membership.objects.get(user=world.ada)
        assert "is not in the team any more" in told(browser(world.ada), f"/members/{own.pk}/remove/")

    def test_others_see_members_and_roles_and_no_forms(self, world: World) -> None:
        address = reverse("orchestration:team-detail", args=[world.goal.team_id])
        seen = browser(member("viewing", "viewer")).get(address).content.decode()
        assert "someone" in seen
        assert "Take in" not in seen
        assert "What changed about the team" not in seen
        assert "What changed about the team" in browser(member("auditing", "auditor")).get(address).content.decode()

    def test_it_asks_as_much_for_many_members_as_for_few(self, world: World) -> None:
        page = browser(world.ada)
        counts = []
        for names in (("a", "b"), ("c", "d", "e", "f")):
            for name in names:
                services.add_member(world.goal.team, User.objects.create_user(name), "viewer", by="ada")
            with CaptureQueriesContext(connection) as asked:
                page.get(reverse("orchestration:team-detail", args=[world.goal.team_id]))
                page.get("/teams/")
            counts.append(len(asked))
        assert counts[0] == counts[1]


def told(page: Client, address: str, **typed: str) -> str:
    return page.post(address, typed, follow=True).content.decode()


class TestWhatAPageOffers:
    def test_a_viewer_is_offered_nothing_that_they_may_not(self, world: World) -> None:
        page = browser(member("viewing", "viewer"))
        for address in ("/", "/goals/", f"/goals/{world.goal.pk}/", "/schedules/", f"/schedules/{world.schedule.pk}/"):
            shown = page.get(address).content.decode()
            assert "/goals/new/" not in shown, address
            assert "/schedules/new/" not in shown, address
            assert 'id="act-' not in shown, address
            assert ">Run now<" not in shown, address
        assert 'id="act-cancel"' in browser(world.ada).get(f"/goals/{world.goal.pk}/").content.decode()

    def test_with_one_team_nobody_reads_of_teams_and_with_several_everybody_does(self, world: World) -> None:
        page = browser(world.ada)
        pages = ("/goals/", "/goals/new/", f"/goals/{world.goal.pk}/", "/schedules/new/", "/repositories/")
        for address in pages:
            assert not re.search(r'team default|name="team"', page.get(address).content.decode()), address
        join(world.ada, "operator", "shop")
        for address in pages:
            assert re.search(r'team default|name="team"', page.get(address).content.decode()), address

    def test_a_goal_and_a_schedule_go_where_the_form_says(self, world: World) -> None:
        join(world.ada, "operator", "shop")
        page, shop = browser(world.ada), team("shop")
        form = {"key": "k", "text": "in the shop", "strategy": "early_termination"}
        refused = page.post("/goals/new/", form)
        assert "say which team it is for: default, shop" in refused.content.decode()
        assert page.post("/goals/new/", form | {"team": str(shop.pk)}).status_code == 302
        assert Goal.objects.get(text="in the shop").team == shop
        assert page.post("/goals/new/", form | {"key": "l", "repository": str(world.repository.pk)}).status_code == 302
        assert Goal.objects.get(text="in the shop", repository=world.repository).team == world.goal.team
        typed = {"name": "n", "cron": "0 1 * * *", "zone": "UTC", "text": "x", "overlap": "skip", "missed": "once"}
        typed |= {"rollouts_wanted": "1", "team": str(shop.pk)}
        assert page.post("/schedules/new/", typed).status_code == 302
        assert RecurringGoal.objects.get(name="n").team == shop

    def test_a_list_is_filtered_by_team(self, world: World) -> None:
        join(world.ada, "operator", "shop")
        services.submit_goal("in the shop", by=world.ada, team="shop")
        shown = browser(world.ada).get("/goals/?team=shop").content.decode()
        assert "1 of 2 goals" in shown


def manage(*words: str) -> Any:
    out = io.StringIO()
    call_command(*words, "--json", stdout=out, stderr=io.StringIO())
    return json.loads(out.getvalue())


@pytest.mark.django_db
class TestCommands:
    def test_a_team_is_made_filled_changed_and_listed(self) -> None:
        member("ada"), member("bob")
        assert manage("team", "create", "shop", "--admin", "ada")["name"] == "shop"
        assert manage("team", "add", "shop", "bob", "--role", "viewer")["role"] == "viewer"
        assert manage("team", "role", "shop", "bob", "approver")["role"] == "approver"
        assert [(row["user"], row["role"]) for row in manage("team", "list", "shop")] == [
            ("ada", "admin"),
            ("bob", "approver"),
        ]
        assert manage("team", "remove", "shop", "bob")["user"] == "bob"
        assert {row["name"]: row["members"] for row in manage("team", "list")} == {"default": 2, "shop": 1}
        assert set(TeamEvent.objects.filter(team__name="shop").values_list("by", flat=True)) == {"shell"}
        with pytest.raises(CommandError, match="ada is the last admin of the team shop"):
            manage("team", "remove", "shop", "ada")
        with pytest.raises(CommandError, match="there is no team 'none'"):
            manage("team", "list", "none")

    def test_with_several_teams_each_command_wants_to_know_which(self, tmp_path: Path) -> None:
        (tmp_path / ".git").mkdir()
        team("default"), team("shop")
        adds = ("schedule", "add", "nightly", "0 1 * * *", "x")
        for words in (("goal", "submit", "x"), adds, ("repository", "add", str(tmp_path)), ("invite", "eve")):
            with pytest.raises(CommandError, match=r"say which \(--team\): default, shop"):
                call_command(*words, stdout=io.StringIO(), stderr=io.StringIO())
        assert manage("goal", "submit", "x", "--team", "shop")["team"] == "shop"
        manage(*adds, "--team", "shop")
        assert manage("repository", "add", str(tmp_path), "--team", "shop")["team"] == "shop"
        assert [row["team"] for row in manage("goal", "list", "--team", "shop")] == ["shop"]
        assert manage("goal", "list", "--team", "default") == []
        assert manage("repository", "list", "--team", "default") == []
        assert (RecurringGoal.objects.get().team, Repository.objects.get().team) == (team("shop"), team("shop"))


class TestApi:
    def test_members_are_listed_taken_in_changed_and_removed(self, world: World) -> None:
        api = Api(create_token(world.ada, "x")[1])
        User.objects.create_user("bob")
        made = api.post("/members", {"user": "bob", "role": "viewer"})
        assert (made.status_code, made.json()["team"]) == (201, "default")
        row = made.headers["Location"]
        assert api.ask("PATCH", row, {"role": "operator"}).json()["role"] == "operator"
        assert [one["user"] for one in api.get("/members?user=bob").json()["results"]] == ["bob"]
        assert api.ask("DELETE", row).status_code == 204
        expect_problem(api.get(row), 404)
        found = api.get(f"/teams/{world.goal.team_id}/events").json()["results"]
        assert [event["kind"] for event in found] == ["member.removed", "member.role", "member.added"]
        own = Membership.objects.get(user=world.ada)
        expect_problem(api.ask("DELETE", f"/members/{own.pk}"), 409, "illegal-move")

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({"user": "ada", "role": "viewer"}, 422),
            ({"user": "bob", "role": "king"}, 422),
            ({"user": "nobody", "role": "viewer"}, 422),
            ({"user": "\0", "role": "viewer"}, 422),
            ({"user": "ada", "role": "viewer", "team": "elsewhere"}, 422),
            ({"user": "ada", "role": "viewer", "team": "no\x01ne"}, 422),
        ],
    )
    def test_a_member_that_cannot_be(self, world: World, body: dict[str, str], status: int) -> None:
        team("elsewhere")
        expect_problem(Api(create_token(world.ada, "x")[1]).post("/members", body), status)

    def test_a_goal_names_its_team_where_there_are_several(self, world: World) -> None:
        join(world.ada, "viewer", "seen")
        join(world.ada, "operator", "shop")
        api = Api(create_token(world.ada, "x")[1])
        found = expect_problem(api.post("/goals", {"text": "x"}), 422, "unusable-value")
        assert "default, shop" in found["detail"]
        assert api.post("/goals", {"text": "x", "team": "shop"}).json()["team"] == "shop"
        assert (
            "viewer of the team seen"
            in expect_problem(api.post("/goals", {"text": "x", "team": "seen"}), 403)["detail"]
        )
        place = {"text": "x", "repository": str(world.repository.pk)}
        assert api.post("/goals", place).json()["team"] == "default"
        expect_problem(api.post("/goals", place | {"team": "shop"}), 422)
        assert [goal["team"] for goal in api.get("/goals?team=shop").json()["results"]] == ["shop"]
        made = api.post("/schedules", {"name": "n", "cron": "0 1 * * *", "text": "x", "team": "shop"})
        assert made.json()["team"] == "shop"
        assert {row["name"]: row["role"] for row in api.get("/teams").json()["results"]} == {
            "default": "admin", "seen": "viewer", "shop": "operator",
        }  # fmt: skip


def test_in_the_admin_too_the_role_decides_and_not_djangos_permission_alone(world: World) -> None:
    staff = member("staff", "viewer", is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(content_type__app_label="orchestration"))
    page, listing = browser(staff), reverse("admin:orchestration_goal_changelist")
    chosen = {ACTION_CHECKBOX_NAME: [str(world.goal.pk)], "action": "cancel", "reason": "x"}
    assert "you are a viewer of the team default" in page.post(listing, chosen, follow=True).content.decode()
    world.goal.refresh_from_db()
    assert world.goal.cancelled_at is None
    Membership.objects.filter(user=staff).update(role="operator")
    page.post(listing, chosen, follow=True)
    world.goal.refresh_from_db()
    assert world.goal.cancelled_at is not None


@pytest.mark.django_db
def test_a_list_of_many_goals_asks_nothing_for_each_of_their_teams() -> None:
    ada = join(member("ada"), "operator", "shop")
    outsider("mallory")
    page, counts = browser(ada), []
    for number in (2, 6):
        for name in ("default", "shop") * number:
            services.submit_goal("x", by=ada, team=name)
            rows.schedule(ada, team=name)
        with CaptureQueriesContext(connection) as asked:
            for address in ("/goals/", "/", "/schedules/", "/repositories/"):
                assert page.get(address).status_code == 200
        counts.append(len(asked))
    assert counts[0] == counts[1]
    assert Team.objects.count() == 3

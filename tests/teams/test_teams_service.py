"""Who is in a team as what: never without an admin, each change recorded, and what is lost is lost at once."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from orchestration import services
from orchestration.errors import BadInput, IllegalMove, NotAllowed
from orchestration.models import Goal, Membership, Occurrence, Repository, Team, TeamEvent
from orchestration.roles import Action
from orchestration.selectors.access import goals_for, repositories_for, standing_of
from orchestration.services.access import create_token
from orchestration.services.repositories import register_repository
from tests.api.conftest import Api, expect_problem
from tests.support.people import join, member, outsider, team
from tests.teams.conftest import World


@pytest.mark.django_db
class TestMembers:
    def test_each_change_is_an_event_by_whoever_made_it(self) -> None:
        shop = services.create_team("shop", admin=member("ada", "admin"), by="shell")
        made = services.add_member(shop, member("bob"), "viewer", by="ada")
        services.change_role(made.pk, "operator", by="ada")
        services.change_role(made.pk, "operator", by="ada")
        services.remove_member(made.pk, by="ada")
        told = TeamEvent.objects.filter(team=shop).order_by("id").values_list("kind", "subject", "old", "new", "by")
        assert list(told) == [
            ("team.created", "", "", "", "shell"),
            ("member.added", "ada", "", "admin", "shell"),
            ("member.added", "bob", "", "viewer", "ada"),
            ("member.role", "bob", "viewer", "operator", "ada"),
            ("member.removed", "bob", "operator", "", "ada"),
        ]

    def test_the_last_admin_stays(self) -> None:
        ada = Membership.objects.get(user=member("ada", "admin"))
        locked_out = Membership.objects.get(user=member("gone", "admin", is_active=False))
        for act in (
            lambda: services.remove_member(ada.pk, by="x"),
            lambda: services.change_role(ada.pk, "viewer", by="x"),
        ):
            with pytest.raises(IllegalMove, match="last admin of the team default"):
                act()
        services.change_role(locked_out.pk, "viewer", by="x")
        join(User.objects.create_user("grace"), "admin")
        services.remove_member(ada.pk, by="x")
        assert not Membership.objects.filter(pk=ada.pk).exists()

    def test_what_cannot_be_is_refused_in_words(self) -> None:
        ada = member("ada", "admin")
        with pytest.raises(BadInput, match="in the team default already, as admin"):
            services.add_member(team(), ada, "viewer", by="x")
        with pytest.raises(BadInput, match="unknown role 'king'; there are viewer, operator"):
            services.add_member(team(), ada, "king", by="x")
        with pytest.raises(BadInput, match="there is no user 'nobody'"):
            services.add_member(team(), "nobody", "viewer", by="x")
        for name in ("", "two words", "-x", "x" * 61, "<b>"):
            with pytest.raises(BadInput, match="a team's name is a word"):
                services.create_team(name, by="x")
        with pytest.raises(BadInput, match="there is a team default already"):
            services.create_team("default", by="x")
        assert Team.objects.count() == 1

    def test_the_first_person_of_a_machine_is_admin_of_the_team_default(self) -> None:
        first = services.person_in_charge()
        assert Membership.objects.get(user=first).role == "admin"
        assert str(services.team_of_machine()) == "default"
        services.invite(name="bob")
        assert Membership.objects.get(user__username="bob").role == "operator"
        team("shop")
        with pytest.raises(BadInput, match=r"say which \(--team\): default, shop"):
            services.invite(name="eve")
        assert not User.objects.filter(username="eve").exists()
        services.invite(name="eve", team="shop", role="auditor")
        assert str(Membership.objects.get(user__username="eve")) == "eve in shop"


@pytest.mark.django_db(transaction=True)
def test_two_admins_who_remove_each_other_at_the_same_moment_leave_one() -> None:
    ada, bob = (Membership.objects.get(user=member(name, "admin")) for name in ("ada", "bob"))
    told: list[str] = []

    def remove_bob() -> None:
        try:
            services.remove_member(bob.pk, by="ada")
        except IllegalMove as error:
            told.append(str(error))
        finally:
            connection.close()

    second = threading.Thread(target=remove_bob)
    with transaction.atomic():
        services.remove_member(ada.pk, by="bob")
        second.start()
        second.join(1)  # it must not be over before this is committed
    second.join(60)
    assert told == ["bob is the last admin of the team default: make somebody else one first"]
    assert list(Membership.objects.all()) == [bob]


@pytest.mark.django_db
class TestWhereNewThingsGo:
    def test_to_the_only_team_without_a_word(self) -> None:
        goal = services.submit_goal("x", by=member("ada"))
        assert str(goal.team) == "default"
        assert str(services.submit_goal("x").team) == "default"

    def test_nobody_needs_to_make_a_team_first(self) -> None:
        assert str(services.submit_goal("x").team) == "default"
        boss = User.objects.create_superuser("boss")
        assert str(services.submit_goal("x", by=boss).team) == "default"

    def test_with_several_somebody_says_which(self) -> None:
        ada = join(member("ada"), "operator", "shop")
        with pytest.raises(BadInput, match="say which team it is for: default, shop"):
            services.submit_goal("x", by=ada)
        with pytest.raises(BadInput, match=r"say which \(--team\): default, shop"):
            services.submit_goal("x")
        assert str(services.submit_goal("x", by=ada, team="shop").team) == "shop"
        assert str(services.submit_goal("x", by=ada, team=str(team("shop").pk)).team) == "shop"
        assert str(services.submit_goal("x", team="shop").team) == "shop"

    def test_only_those_count_in_which_the_role_allows_it(self) -> None:
        ada = join(member("ada"), "viewer", "shop")
        assert str(services.submit_goal("x", by=ada).team) == "default"
        with pytest.raises(NotAllowed, match="you are a viewer of the team shop, and only operators, approvers and"):
            services.submit_goal("x", by=ada, team="shop")

    def test_another_ones_team_is_not_found(self) -> None:
        outsider("mallory")
        for named in ("elsewhere", str(team("elsewhere").pk), "\0", "none such"):
            with pytest.raises(BadInput, match="there is no team"):
                services.submit_goal("x", by=User.objects.filter(username="ada").first() or member("ada"), team=named)
        assert not Goal.objects.exists()

    def test_somebody_without_a_team_may_nothing(self) -> None:
        alone = User.objects.create_user("alone")
        with pytest.raises(NotAllowed, match="in none of your teams"):
            services.submit_goal("x", by=alone)
        assert standing_of(alone).actions == frozenset()

    def test_a_retry_and_a_schedules_goal_stay_in_their_team(self) -> None:
        ada = join(member("ada"), "operator", "shop")
        schedule = services.add_schedule(name="n", cron="0 1 * * *", text="x", owner=ada, team="shop")
        goal = services.run_now(schedule.pk, by="ada")
        services.cancel_goal(goal.pk, by="ada")
        assert {str(goal.team), str(services.retry_goal(goal.pk, by="ada").team)} == {"shop"}


@pytest.fixture
def folder(tmp_path: Any) -> Any:
    (tmp_path / "shop" / ".git").mkdir(parents=True)
    return tmp_path / "shop"


@pytest.mark.django_db
class TestRepositories:
    def test_two_teams_have_the_same_folder_without_knowing_of_each_other(self, folder: Any) -> None:
        ada, mallory = member("ada"), outsider("mallory")
        mine = register_repository(folder, team="default", setup="make tools")
        theirs = register_repository(folder, team="elsewhere")
        assert mine.pk != theirs.pk
        assert list(repositories_for(ada)) == [mine]
        assert list(repositories_for(mallory)) == [theirs]
        assert services.submit_goal("x", by=ada, repo=folder).repository == mine
        mine.refresh_from_db()
        assert mine.setup == "make tools"

    def test_another_teams_repository_cannot_be_named(self, folder: Any) -> None:
        ada, _ = member("ada"), outsider("mallory")
        theirs = register_repository(folder, team="elsewhere")
        for named in (theirs, theirs.pk, str(folder)):
            with pytest.raises(BadInput, match=r"is not registered|there is no repository"):
                services.submit_goal("x", by=ada, repo=named)
            with pytest.raises(BadInput, match=r"is not registered|there is no repository"):
                services.add_schedule(name="n", cron="0 1 * * *", text="x", owner=ada, repo=named)
        schedule = services.add_schedule(name="n", cron="0 1 * * *", text="x", owner=ada)
        with pytest.raises(BadInput, match="there is no repository"):
            services.change_schedule(schedule.pk, repo=theirs)
        assert Repository.objects.count() == 1

    def test_one_that_is_named_by_its_row_says_the_team(self, folder: Any) -> None:
        ada = join(member("ada"), "operator", "shop")
        place = register_repository(folder, team="shop")
        assert str(services.submit_goal("x", by=ada, repo=place.pk).team) == "shop"


class TestWhatIsLostIsLostAtOnce:
    def test_a_token_finds_nothing_any_more_when_its_user_has_left(self, world: World) -> None:
        bob = member("bob")
        api = Api(create_token(bob, "x")[1])
        assert api.get(f"/goals/{world.goal.pk}").status_code == 200
        held = Membership.objects.get(user=bob)
        services.change_role(held.pk, "viewer", by="ada")
        expect_problem(api.post(f"/goals/{world.goal.pk}/cancel", {}), 403, "forbidden")
        services.remove_member(held.pk, by="ada")
        expect_problem(api.get(f"/goals/{world.goal.pk}"), 404)
        expect_problem(api.post("/goals", {"text": "x"}), 403)
        assert not goals_for(bob).exists()

    def test_so_does_a_browser_that_is_logged_in(self, world: World) -> None:
        bob, page = member("bob"), Client()
        page.force_login(bob)
        assert page.get(f"/goals/{world.goal.pk}/").status_code == 200
        services.remove_member(Membership.objects.get(user=bob).pk, by="ada")
        assert page.get(f"/goals/{world.goal.pk}/").status_code == 404
        assert b"You are in no team yet" in page.get("/").content

    def test_a_schedule_whose_owner_may_not_submit_any_more_says_so(self, world: World) -> None:
        bob = member("bob")
        schedule = services.add_schedule(name="n", cron="* * * * *", text="x", owner=bob)
        Membership.objects.filter(user=bob).update(role="viewer")
        with pytest.raises(BadInput, match="its owner bob may not submit goals in the team default any more"):
            services.run_now(schedule.pk, by="ada")
        services.submit_due_goals(timezone.now() + timedelta(minutes=3))
        assert Occurrence.objects.filter(schedule=schedule).latest("due_at").outcome == "refused"
        Membership.objects.filter(user=bob).update(role="operator")
        assert services.run_now(schedule.pk, by="ada").submitted_by == bob

    def test_a_replayed_answer_is_for_whoever_may_still_ask(self, world: World) -> None:
        bob = member("bob")
        api, key = Api(create_token(bob, "x")[1]), {"Idempotency-Key": "one"}
        assert api.post("/goals", {"text": "x"}, **key).status_code == 202
        Membership.objects.filter(user=bob).update(role="viewer")
        expect_problem(api.post("/goals", {"text": "x"}, **key), 403)


@pytest.mark.django_db
def test_a_superuser_is_an_admin_everywhere_and_their_own_team_is_their_default() -> None:
    boss = join(User.objects.create_superuser("boss"), "admin")
    outsider("mallory")
    assert set(standing_of(boss).actions) == set(Action)
    assert str(services.submit_goal("x", by=boss).team) == "default"
    assert str(services.submit_goal("x", by=boss, team="elsewhere").team) == "elsewhere"
    assert goals_for(boss).count() == 2

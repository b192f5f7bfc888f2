"""One table of role and action, walked over every page, every route of the API and every command that there is today."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.core.management import get_commands, load_command_class
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from orchestration.admin.readonly import PERSONAL
from orchestration.api import urls as api_urls
from orchestration.roles import TABLE, Action, Role, may
from orchestration.selectors.access import TEAM
from orchestration.services.access import create_token
from orchestration.urls import urlpatterns as panel_urls
from tests.api.conftest import Api, expect_problem
from tests.support.people import member, outsider
from tests.teams.conftest import World
from tests.teams.rights import API, COMMANDS, DOCUMENTS, INSTALLATION, MACHINE, OPEN, OWN, PANEL, POSTED

FORM = {
    "reason": "x",
    "key": "k",
    "answer": "x",
    "name": "x",
    "base_url": "http://127.0.0.1:9/v1",
    "plan_sha256": "a" * 64,
    "plan": '{"steps": [{"index": 0, "description": "y"}]}',
}
PLAN = {"plan_sha256": "a" * 64, "reason": "x"}
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("goal-list", "post"): {"text": "x"},
    ("goal-pick", "post"): {"rollout": 1, "reason": "x"},
    ("schedule-list", "post"): {"name": "x", "cron": "0 1 * * *", "text": "x"},
    ("schedule-detail", "patch"): {"name": "y"},
    ("member-list", "post"): {"user": "nobody", "role": "viewer"},
    ("team-month", "patch"): {"limit_usd": "5"},
    ("provider-list", "post"): {"name": "x", "base_url": "http://127.0.0.1:9/v1"},
    ("provider-detail", "patch"): {"requests_per_minute": 5},
    ("price-list", "post"): {"model": "m", "input_usd": "1", "output_usd": "2"},
    ("member-detail", "patch"): {"role": "operator"},
    ("question-answer", "post"): {"answer": "x"},
    ("goal-skip-step", "post"): {"step": 0, "reason": "x"},
    ("goal-mark-done", "post"): {"step": 0, "reason": "x"},
    ("goal-override", "post"): {"action": "replan", "reason": "x"},
    ("goal-message", "post"): {"text": "x"},
    ("goal-priority", "post"): {"priority": 7},
    ("goal-follow-up", "post"): {"text": "x"},
    ("approval-approve", "post"): PLAN,
    ("approval-reject", "post"): PLAN,
    ("approval-edit-plan", "post"): PLAN | {"plan": {"steps": [{"index": 0, "description": "y"}]}},
}


def patterns(below: list[Any]) -> Iterator[URLPattern]:
    for pattern in below:
        if isinstance(pattern, URLResolver):
            yield from patterns(pattern.url_patterns)
        else:
            yield pattern


def api_routes() -> Iterator[tuple[str, Any, dict[str, str]]]:
    """(name, viewset, method → its function)."""
    for pattern in patterns(api_urls.urlpatterns):
        actions = getattr(pattern.callback, "actions", None)
        if actions:
            yield pattern.name or "", pattern.callback.cls, actions


def pages() -> Iterator[tuple[str, Any, str]]:
    """(name, view, verb)."""
    for pattern in patterns(panel_urls):
        row = PANEL[pattern.name or ""]
        for verb in row if isinstance(row, dict) else ("",):
            yield pattern.name or "", pattern, verb


# ---- nothing is without a row


def test_every_page_is_marked_as_the_table_says() -> None:
    for pattern in patterns(panel_urls):
        wanted = PANEL[pattern.name or ""]
        if wanted == OPEN:
            assert pattern.callback.login_required is False, pattern.name
        else:
            assert pattern.callback.needs == wanted, pattern.name
    assert {pattern.name for pattern in patterns(panel_urls)} == set(PANEL), "a page that is gone keeps no row"


def test_every_route_of_the_api_is_what_the_table_says() -> None:
    found: dict[str, dict[str, str]] = {}
    for name, viewset, methods in api_routes():
        found.setdefault(name, {}).update({m: viewset.acts.get(act) for m, act in methods.items() if m != "head"})
    assert found == API
    others = [pattern for pattern in patterns(api_urls.urlpatterns) if not hasattr(pattern.callback, "actions")]
    assert {pattern.name or "" for pattern in others} == DOCUMENTS


def test_every_command_and_each_of_its_verbs_has_a_row() -> None:
    ours = {name for name, app in get_commands().items() if app == "orchestration"}
    assert ours == set(COMMANDS)
    for name, row in COMMANDS.items():
        parser = load_command_class("orchestration", name).create_parser("manage.py", name)
        verbs = {verb for it in parser._actions if isinstance(it, argparse._SubParsersAction) for verb in it.choices}
        assert verbs == (set(row) if isinstance(row, dict) else set()), name
        assert all(one in (OWN, MACHINE, *Action) for one in (row.values() if isinstance(row, dict) else [row]))


def test_every_kind_of_row_in_the_admin_is_a_teams_a_persons_or_the_installations() -> None:
    shown = {model for model in admin.site._registry if model._meta.app_label == "orchestration"}
    assert {model.__name__ for model in shown - set(TEAM) - PERSONAL} == INSTALLATION


def test_no_other_addresses_are_there_than_the_panels_the_apis_and_the_admins() -> None:
    top = [getattr(pattern, "app_name", None) or str(pattern.pattern) for pattern in get_resolver().url_patterns]
    assert top == ["favicon.ico", "orchestration", "api", "admin"], "walk over the new ones too"


def test_the_table_knows_each_role_and_only_admins_do_everything() -> None:
    assert set(TABLE) == set(Role)
    assert [role for role in Role if TABLE[role] == set(Action)] == [Role.ADMIN]
    assert all(may(role, Action.SEE) for role in Role)
    writes = set(Action) - {Action.SEE, Action.SEE_COSTS, Action.SEE_AUDIT}
    assert not any(may(role, action) for role in (Role.VIEWER, Role.AUDITOR) for action in writes)
    assert not may(None, Action.SEE)
    assert not may("king", Action.SEE)


# ---- the walk


def asked(client: Client, name: str, pattern: URLPattern, verb: str, world: World) -> Any:
    known = world.ids() | {"verb": verb}
    named = {word: known[word] for word in pattern.pattern.converters}
    address = reverse(f"orchestration:{name}", kwargs=named)
    with transaction.atomic():  # what was done is undone: the next page finds the same world
        answer = client.post(address, FORM) if name in POSTED else client.get(address)
        transaction.set_rollback(True)
    return answer


@pytest.mark.parametrize("role", Role.values)
def test_each_role_may_on_each_page_what_the_table_says(world: World, role: str) -> None:
    client = Client()
    for name, pattern, verb in pages():
        wanted = PANEL[name]
        action = wanted[verb] if isinstance(wanted, dict) else wanted
        if action in (OPEN, OWN):
            continue
        client.force_login(User.objects.filter(username=role).first() or member(role, role))
        answer = asked(client, name, pattern, verb, world)
        if may(role, Action(action)):
            # 409: it may, and there is nothing of the kind to be done about this goal
            assert answer.status_code in (200, 302, 409), f"{role} {name} {verb}"
        else:
            assert answer.status_code == 403, f"{role} {name} {verb}"
            told = answer.content.decode()
            assert f" {role}" in told
            assert Action(action).label in told


def test_what_belongs_to_another_team_is_on_no_page(world: World) -> None:
    client = Client()
    client.force_login(outsider("mallory"))
    walked = set()
    for name, pattern, verb in pages():
        if PANEL[name] != OPEN and set(pattern.pattern.converters) - {"verb"}:
            assert asked(client, name, pattern, verb, world).status_code == 404, f"{name} {verb}"
            walked.add(name)
    assert {"goal-stream", "goal-artifact", "goal-output", "token-revoke", "schedule-run", "member-role"} <= walked


def requests(world: World) -> Iterator[tuple[str, str, str]]:
    """(name, method, address) of each route."""
    known = world.rows()
    for name, methods in API.items():
        noun = name.split("-")[0]
        pattern = next(p for p in patterns(api_urls.urlpatterns) if p.name == name)
        args = [known[noun]] if pattern.pattern.converters else []
        for method in methods:
            yield name, method, reverse(f"api:{name}", args=args)


def sent(api: Api, name: str, method: str, address: str) -> Any:
    with transaction.atomic():
        body = BODIES.get((name, method), {} if method == "post" else None)
        answer = api.ask(method.upper(), address, body)
        transaction.set_rollback(True)
    return answer


@pytest.mark.parametrize("role", Role.values)
def test_each_role_may_on_each_route_what_the_table_says(world: World, role: str) -> None:
    api = Api(create_token(member(role, role), "walk")[1])
    for name, method, address in requests(world):
        answer = sent(api, name, method, address)
        action = Action(API[name][method])
        if not may(role, action):
            detail = expect_problem(answer, 403, "forbidden")["detail"]
            assert f" {role}" in detail
            assert action.label in detail
        elif (name, method) == ("member-list", "post"):
            expect_problem(answer, 422)  # it may, and there is no such user
        else:
            # a result that there is not yet and a status that does not fit are told after the right was looked at
            assert answer.status_code in (200, 201, 202, 204, 409) or name in ("goal-patch", "goal-bundle"), (
                f"{role} {name} {method}: {answer.content[:300]!r}"
            )


def test_what_belongs_to_another_team_is_on_no_route(world: World) -> None:
    api = Api(create_token(outsider("mallory"), "walk")[1])
    for name, method, address in requests(world):
        if not name.endswith("-list"):
            expect_problem(sent(api, name, method, address), 404)
        elif method == "get" and name not in ("worker-list", "queue-list", "breaker-list"):
            found = api.get(address).json()["results"]
            assert all(row.get("name") == "elsewhere" or row.get("team") == "elsewhere" for row in found), name


def test_staff_of_another_team_find_nothing_in_the_admin(world: World) -> None:
    mallory = outsider("mallory", is_staff=True)
    mallory.user_permissions.set(Permission.objects.filter(content_type__app_label="orchestration"))
    client = Client()
    client.force_login(mallory)
    for model, options in admin.site._registry.items():
        if model in TEAM or model in PERSONAL:
            assert options.has_view_permission(type("R", (), {"user": mallory})())
            listing = reverse(f"admin:orchestration_{model._meta.model_name}_changelist")
            row = model.objects.exclude(**elsewhere(model)).first()
            text = client.get(listing).content.decode()
            assert row is None or f"/{row.pk}/change/" not in text, model
            if row is not None:
                one = reverse(f"admin:orchestration_{model._meta.model_name}_change", args=[row.pk])
                assert client.get(one).status_code == 302, model  # to the admin's start: there is no such row
    artifact = world.ids()["artifact_id"]
    assert client.get(reverse("admin:orchestration_artifact_download", args=[artifact])).status_code == 404


def elsewhere(model: Any) -> dict[str, Any]:
    if model not in TEAM:
        return {"user__username": "mallory"}
    return {"name": "elsewhere"} if TEAM[model] == "pk" else {f"{TEAM[model]}__name": "elsewhere"}

"""Providers: a key goes in and never comes out, not even by a change of the address; and which addresses may be named."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from agents.errors import Permanent
from agents.llm.openai_compatible import OpenAICompatibleLLM
from agents.ports import CompletionRequest, Message
from orchestration import llms, services
from orchestration.errors import BadInput, NotFound
from orchestration.models import Provider, TeamEvent
from orchestration.sealing import seal, unseal
from orchestration.services.access import create_token
from tests.api.conftest import Api, expect_problem
from tests.llm.model_server import ModelServer, answered
from tests.support.people import member, team

KEY = "sk-very-secret-0123456789"
URL = "https://models.example.org/v1"
ASK = CompletionRequest((Message("user", "hello"),))
pytestmark = pytest.mark.django_db


def added(name: str = "venice", **more: Any) -> Provider:
    return services.add_provider(name, **{"team": team(), "by": "ada", "base_url": URL, "key": KEY} | more)


def run(*words: str, stdin: str = "", monkeypatch: pytest.MonkeyPatch | None = None) -> str:
    out = io.StringIO()
    if monkeypatch is not None:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
    call_command("provider", *words, stdout=out)
    return out.getvalue()


# ---- keys


def test_a_key_is_stored_encrypted_and_an_old_secret_key_still_reads_it(settings: Any) -> None:
    row = added()
    assert KEY not in row.sealed_key
    assert unseal(row.sealed_key) == KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "the next one", [settings.SECRET_KEY]
    assert unseal(row.sealed_key) == KEY
    assert services.reseal_providers() == 1
    settings.SECRET_KEY_FALLBACKS = []
    assert unseal(Provider.objects.get().sealed_key) == KEY
    with pytest.raises(BadInput, match="SECRET_KEY_FALLBACKS"):
        unseal(row.sealed_key)
    with pytest.raises(Permanent, match="venice: its key was stored under another SECRET_KEY"):
        llms.client_of(row, "m")


def test_no_key_is_stored_under_the_secret_that_everybody_knows(settings: Any) -> None:
    settings.SECRET_KEY = settings.INSECURE_KEY
    with pytest.raises(BadInput, match="set SECRET_KEY"):
        seal(KEY)
    assert added(key="").has_key is False


def test_a_key_is_on_no_surface(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level("DEBUG")
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    said = run("add", "venice", "--base-url", URL, "--key-file", str(file), "--team", str(team()))
    said += run("add", "shared", "--base-url", URL, "--key-file", str(file), "--json")
    said += run("list") + run("list", "--json") + run("change", "shared", "--requests-per-minute", "5", "--json")
    row = Provider.objects.get(team=team())
    assert unseal(row.sealed_key) == KEY
    said += repr(row) + repr(llms.client_of(row, "m"))
    boss = Client()
    boss.force_login(User.objects.create_superuser("boss", "b@example.org", "x"))
    name = "admin:orchestration_provider"
    pages = [reverse(f"{name}_changelist"), reverse(f"{name}_change", args=[row.pk]), "/providers/"]
    told = [boss.get(page) for page in pages]
    assert [answer.status_code for answer in told] == [200, 200, 200]
    said += "".join(answer.content.decode() for answer in told)
    said += Api(create_token(member("ada", "admin"), "x")[1]).get("/providers").content.decode()
    assert KEY not in said + caplog.text
    assert row.sealed_key not in said
    assert '"has_key": true' in said


def test_a_key_comes_from_standard_input_and_there_is_no_word_for_it_on_the_command_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run("add", "venice", "--base-url", URL, "--key-file", "-", stdin=f"{KEY}\n", monkeypatch=monkeypatch)
    assert unseal(Provider.objects.get().sealed_key) == KEY
    with pytest.raises(CommandError):
        run("change", "venice", "--key", KEY)


def test_another_address_does_not_get_the_key_of_this_one() -> None:
    row = added()
    with pytest.raises(BadInput, match="give the key again"):
        services.change_provider(row.pk, by="eve", base_url="https://evil.example.org/v1")
    assert Provider.objects.get().base_url == URL
    services.change_provider(row.pk, by="ada", base_url="https://new.example.org/v1", key="sk-new")
    assert unseal(Provider.objects.get().sealed_key) == "sk-new"
    assert [e.kind for e in TeamEvent.objects.all()] == ["provider.changed", "provider.added"]


# ---- which addresses


@pytest.mark.parametrize(
    "address",
    [
        *("http://127.0.0.1:11434/v1", "http://localhost/v1", "http://[::1]/v1", "http://10.0.0.5/v1"),
        *("http://[::ffff:192.168.1.1]/v1", "http://x.localhost:1/v1"),
    ],
)
def test_a_private_address_may_be_named_only_where_the_setting_says_so(address: str, settings: Any) -> None:
    assert added("here", base_url=address).base_url == address
    settings.PROVIDER_PRIVATE_ADDRESSES = False
    with pytest.raises(BadInput, match="PROVIDER_PRIVATE_ADDRESSES"):
        added("there", base_url=address)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://169.254.169.254/latest", "no address of a model server"),
        ("http://0.0.0.0/v1", "no address of a model server"),
        ("ftp://example.org", "the address is like"),
        ("https://u:p@example.org/v1", "a key is given by itself"),
        ("https://example.org/v1?key=x", "a key is given by itself"),
        ("http://[::1", "the address is like"),
        ("", "the address is like"),
    ],
)
def test_what_is_no_address_of_a_model_is_refused(address: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        added(base_url=address)
    assert not Provider.objects.exists()


def test_a_name_that_leads_to_a_private_address_is_found_out_before_anything_is_sent(
    server: ModelServer, settings: Any
) -> None:
    row = added(base_url=server.url)
    settings.PROVIDER_PRIVATE_ADDRESSES = False
    with pytest.raises(Permanent, match="is a private address"):
        llms.client_of(row, "m").complete(ASK)
    named = OpenAICompatibleLLM(server.url.replace("127.0.0.1", "localhost"), "m", KEY, guard=lambda ip: f"not {ip}")
    for _ in range(2):  # nor over a connection that was left behind
        with pytest.raises(Permanent, match=r"not (127\.0\.0\.1|::1)"):
            named.complete(ASK)
    assert server.asked == []
    settings.PROVIDER_PRIVATE_ADDRESSES = True
    assert llms.client_of(row, "m").complete(ASK).message.content == "hello"
    assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"


# ---- rows


def test_a_team_s_own_one_hides_the_installation_s() -> None:
    shared, own = added(team=None), added()
    assert services.provider_named("venice", team()) == own
    assert services.provider_named("venice") == shared
    assert services.known_providers(team("elsewhere"), ["venice", "x"]) == {"venice": shared}
    for again in (None, team()):
        with pytest.raises(BadInput, match="already"):
            added(team=again)
    with pytest.raises(NotFound):
        services.provider_named("mercury")


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"name": "environment"}, "a provider's name"),
        ({"name": "a/b"}, "a provider's name"),
        ({"requests_per_minute": 0}, "at least 1"),
        ({"context_tokens": 100}, "at least 2048"),
        ({"model_names": "m"}, "a list"),
        ({"key": "ä"}, "copy it again"),
        ({"price": 1}, "has no price"),
    ],
)
def test_a_mistake_is_a_sentence(said: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadInput, match=problem):
        added(**said)


def test_the_command_tries_it_and_removes_it(server: ModelServer) -> None:
    server.says(answered("ok", usage={"prompt_tokens": 9, "completion_tokens": 1}))
    run("add", "here", "--base-url", server.url, "--model", "m")
    told = json.loads(run("test", "here", "--json"))
    assert (told["model"], told["tokens"]) == ("m-2026", 10)
    with pytest.raises(CommandError, match="does not offer the model other"):
        run("test", "here", "--model", "other")
    assert "removed" in run("remove", "here")
    assert not Provider.objects.exists()


def test_a_program_of_an_admin_manages_its_team_s_and_not_the_installation_s() -> None:
    api = Api(create_token(member("ada", "admin"), "x")[1])
    made = api.post("/providers", {"name": "venice", "base_url": URL, "key": KEY, "parallel_calls": 3})
    assert (made.status_code, made.json()["has_key"], made.json()["team"]) == (201, True, "default")
    row = made.headers["Location"]
    assert api.ask("PATCH", row, {"parallel_calls": None}).json()["parallel_calls"] is None
    expect_problem(api.ask("PATCH", row, {"base_url": "http://169.254.169.254/"}), 422)
    shared = added("shared", team=None)
    assert {one["name"] for one in api.get("/providers").json()["results"]} == {"venice", "shared"}
    expect_problem(api.ask("DELETE", f"/providers/{shared.pk}"), 403)
    assert api.ask("DELETE", row).status_code == 204
    assert [row.name for row in Provider.objects.all()] == ["shared"]


def test_an_admin_adds_changes_and_removes_one_in_the_panel() -> None:
    ada = Client()
    ada.force_login(member("ada", "admin"))
    form = {"name": "venice", "base_url": URL, "key": KEY, "model_names": "a, b"}
    page = ada.post("/providers/add/", form, follow=True).content.decode()
    row = Provider.objects.get()
    assert (row.team, row.model_names, unseal(row.sealed_key)) == (team(), ["a", "b"], KEY)
    assert URL in page
    assert KEY not in page
    changed = {"key": "", "requests_per_minute": "7", "tokens_per_minute": "", "parallel_calls": "x"}
    assert "whole number" in ada.post(f"/providers/{row.pk}/change/", changed, follow=True).content.decode()
    ada.post(f"/providers/{row.pk}/change/", changed | {"parallel_calls": "2"})
    row.refresh_from_db()
    assert (row.requests_per_minute, row.tokens_per_minute, row.parallel_calls) == (7, None, 2)
    assert unseal(row.sealed_key) == KEY, "an empty field leaves the key"
    ada.post(f"/providers/{row.pk}/remove/")
    assert not Provider.objects.exists()


def test_the_page_asks_a_constant_number_of_queries() -> None:
    vera = Client()
    vera.force_login(member("vera", "viewer"))
    counts = []
    for more in (1, 6):
        for n in range(more):
            added(f"p{more}-{n}")
        with CaptureQueriesContext(connection) as asked:
            page = vera.get("/providers/").content.decode()
        counts.append(len(asked))
    assert counts[0] == counts[1]
    assert "Add a provider" not in page

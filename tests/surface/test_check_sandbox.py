"""manage.py check_sandbox and doctor, with a service that is there, one that is not, and one that answers otherwise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from orchestration import doctor
from tests.support.locale2b_server import GUEST_USER, Locale2bServer, Say

pytestmark = pytest.mark.skipif(GUEST_USER == 0, reason="an ordinary user's stand-in for a VM has no second user")


@pytest.fixture
def service(settings: Any, open_folder: Path) -> Iterator[Locale2bServer]:
    server = Locale2bServer(key="k3y")
    settings.WORKSPACES_DIR = open_folder
    settings.SANDBOX_ENVIRONMENT = {
        "LOCALE2B_BASE_URL": server.url,
        "LOCALE2B_API_KEY": "k3y",
        "LOCALE2B_REQUESTS_PER_MINUTE": "100000",
    }
    yield server
    server.stop()


def check(*words: str) -> tuple[dict[str, dict[str, str]], int]:
    """(findings by the last word of their name, exit code)."""
    out, code = StringIO(), 0
    try:
        call_command("check_sandbox", "--json", *words, stdout=out)
    except SystemExit as end:
        code = int(end.code or 0)
    return {finding["name"].split()[-1]: finding for finding in json.loads(out.getvalue())}, code


def test_a_service_that_keeps_the_contract_fits_field_by_field(service: Locale2bServer) -> None:
    found, code = check()
    assert code == 0, found
    assert {finding["status"] for finding in found.values()} == {"ok"}
    assert set(found) >= {
        "health",
        "capacity",
        "list",
        "auth",
        "create",
        "exec",
        "tools",
        "files",
        "network",
        "parallel_exec",
        "destroy",
    }
    assert "version 0.3.0" in found["health"]["detail"]
    assert "a command blocks the whole service" in found["parallel_exec"]["detail"]
    assert "user 1000" in found["exec"]["detail"]
    assert service.machines == {}
    assert "k3y" not in json.dumps(found)


def test_each_finding_is_a_line_with_its_mark(service: Locale2bServer) -> None:
    out = StringIO()
    call_command("check_sandbox", stdout=out)
    assert f"✓ 127.0.0.1:{service.server_port} health: version 0.3.0" in out.getvalue()


@pytest.mark.parametrize(
    ("call", "says", "name", "told"),
    [
        ("health", Say(200, {"status": "healthy"}), "health", "version: field required"),
        ("capacity", Say(200, {"active_sandboxes": "0"}), "capacity", "active_sandboxes"),
        ("list", Say(200, {"sandboxes": []}), "list", "valid list"),
        ("create", Say(200, {"id": "ab"}), "create", "sandbox_id: field required"),
        ("create", Say(503, {"detail": "Insufficient memory"}), "create", "Insufficient memory"),
        ("read", Say(200, {"success": True, "content": "no base64!"}), "files", "content: not base64"),
    ],
)
def test_what_does_not_fit_is_named_with_a_remedy(
    service: Locale2bServer, call: str, says: Say, name: str, told: str
) -> None:
    service.once(call, says)
    found, code = check()
    assert code == 1
    assert found[name]["status"] == "fail"
    assert told in found[name]["detail"]
    assert found[name]["remedy"]


def test_a_wrong_key_and_no_key_are_told_apart(service: Locale2bServer, settings: Any) -> None:
    settings.SANDBOX_ENVIRONMENT["LOCALE2B_API_KEY"] = "other"
    found, code = check()
    assert code == 1
    assert "LOCALE2B_API_KEY" in found["create"]["detail"]
    service.key, settings.SANDBOX_ENVIRONMENT["LOCALE2B_API_KEY"] = "", ""
    found, code = check()
    assert code == 0
    assert found["auth"]["status"] == found["settings"]["status"] == "warn"
    assert "anybody can use it" in found["auth"]["detail"]


def test_a_service_that_is_away_is_one_line_each(service: Locale2bServer, settings: Any) -> None:
    settings.SANDBOX_ENVIRONMENT["LOCALE2B_BASE_URL"] = "http://127.0.0.1:1"
    found, code = check()
    assert code == 1
    assert "does not answer" in found["health"]["detail"]
    assert "is it running" in found["health"]["detail"]


def test_the_real_rate_limit_is_found_on_request(service: Locale2bServer, settings: Any) -> None:
    settings.SANDBOX_ENVIRONMENT["LOCALE2B_REQUESTS_PER_MINUTE"] = "1000"
    service.rate = 200
    found, _ = check("--rate")
    assert found["rate"]["status"] == "warn"
    assert "HTTP 429 at request" in found["rate"]["detail"]
    assert "RATE_LIMIT_REQUESTS" in found["rate"]["remedy"]


@pytest.mark.parametrize(("address", "said"), [("", "LOCALE2B_BASE_URL"), ("nonsense", "LOCALE2B_BASE_URL")])
def test_settings_that_cannot_be_are_named(service: Locale2bServer, settings: Any, address: str, said: str) -> None:
    settings.SANDBOX_ENVIRONMENT["LOCALE2B_BASE_URL"] = address
    found, code = check()
    assert code == 1
    assert said in found["settings"]["detail"]


def test_doctor_shows_which_provider_is_used(service: Locale2bServer, settings: Any) -> None:
    *_, last = doctor.sandbox()
    assert (last.status, last.name) == ("ok", "sandbox")
    assert "locale2b is used, 1 of 1 services answer" in last.detail
    settings.SANDBOX = "bubblewrap"
    *_, last = doctor.sandbox()
    assert last.detail == "bubblewrap is used"
    settings.SANDBOX = "locale2b"
    service.key = "changed"
    glance, last = doctor.sandbox()[-2:]
    assert (glance.status, last.status) == ("fail", "fail")
    assert "LOCALE2B_API_KEY" in glance.detail

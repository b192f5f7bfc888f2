"""`manage.py doctor --llm` against real servers: what the model can, how long it takes, and what to do where it cannot."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import override_settings

from agents.llm.demo_server import DemoServer, Faults, serve
from tests.support.models import Request, call, say

pytestmark = pytest.mark.django_db


@contextmanager
def served(answerer: Any, **more: Any) -> Iterator[DemoServer]:
    with ExitStack() as stack:
        server = serve(answerer=answerer, **more)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        stack.callback(server.server_close)
        stack.callback(server.shutdown)
        yield server


def doctor(url: str, key: str = "") -> tuple[int, dict[str, dict[str, str]]]:
    """(exit code, findings by name)."""
    out = StringIO()
    with override_settings(
        LLM_ENVIRONMENT={"LLM_BASE_URL": url, "LLM_MODEL": "m", "LLM_API_KEY": key, "VENICE_API_KEY": ""}
    ):
        try:
            call_command("doctor", "--llm", "--json", stdout=out)
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, {finding["name"]: finding for finding in json.loads(out.getvalue())}


def capable(request: Request) -> dict[str, Any]:
    return call("ping") if request.get("tools") else say({"ok": True})


def test_a_capable_model_is_found_with_its_latency() -> None:
    with served(capable) as server:
        _, found = doctor(server.url)
        assert len(server.calls) == 2
    assert [found[name]["status"] for name in ("model", "model: JSON", "model: tools")] == ["ok"] * 3
    assert " answered in 0." in found["model"]["detail"]


def test_a_model_that_only_talks_is_told_with_the_settings_for_it() -> None:
    with served(lambda _: say("hello")) as server:
        _, found = doctor(server.url)
    assert [found[name]["status"] for name in ("model: JSON", "model: tools")] == ["warn"] * 2
    assert "LLM_TOOL_CALLS=0" in found["model: tools"]["remedy"]


def test_a_wrong_key_is_one_call_and_not_repeated() -> None:
    with served(capable, key="right") as server:
        code, found = doctor(server.url, "wrong-one")
    assert code == 1
    assert "LLM_API_KEY" in found["model"]["detail"]
    assert "wrong-one" not in json.dumps(found)


def test_a_server_that_breaks_is_named() -> None:
    with served(capable, faults=Faults(nth=1, status=200, body="<html>Sign in</html>")) as server:
        code, found = doctor(server.url)
    assert (code, found["model"]["status"]) == (1, "fail")
    assert "sent no JSON" in found["model"]["detail"]

"""check_llm: real calls to servers that can more and less, what is stored of them, and that the agents then ask accordingly."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from agents.llm.openai_compatible import OpenAICompatibleLLM
from agents.llm.trial import try_model
from orchestration import equipment, llms, services
from orchestration.models import Capability
from tests.llm.model_server import Handler, ModelServer, Say, answered, refused
from tests.support.engine import Engine
from tests.support.models import Answer, role, say, writes_a_file

EIGHT = '{"legs_of_one_spider": 8}'
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 0}}
RATES = {"x-ratelimit-limit-requests": "60", "x-ratelimit-limit-tokens": "150000"}
SEVEN = {"id": "1", "type": "function", "function": {"name": "report_number", "arguments": '{"number": 7}'}}


def server_that(
    server: ModelServer, *, schema: bool = True, any_json: bool = True, refuses: bool = True, tools: bool = True
) -> None:
    """Of a model that can so much. `refuses`: it says so where it cannot; else it passes over what it does not know."""

    def answer(handler: Handler) -> None:
        body = server.asked[-1].body
        wanted = body.get("response_format", {}).get("type", "text")
        if body.get("tools"):
            told = answered("", usage=USAGE, tool_calls=[SEVEN]) if tools else refused(400, "this model knows no tools")
        elif wanted == "json_schema" and schema:
            told = answered(EIGHT, usage=USAGE)
        elif wanted == "json_object" and any_json:
            told = answered('{"legs": 8}', usage=USAGE)
        elif wanted != "text" and refuses:
            told = refused(400, f"response_format {wanted} is not supported")
        else:
            told = answered("A spider has eight legs.", usage=USAGE)
        handler.give(Say(told.status, told.body, RATES))

    server.says(answer)


@pytest.mark.parametrize(
    ("can", "answers", "tools"),
    [
        ({}, "json_schema", True),
        ({"schema": False}, "json_object", True),
        ({"schema": False, "refuses": False}, "json_object", True),
        ({"schema": False, "any_json": False}, "text", True),
        ({"schema": False, "any_json": False, "refuses": False, "tools": False}, "text", False),
    ],
)
def test_a_trial_finds_out_what_a_model_can(
    server: ModelServer, can: dict[str, bool], answers: str, tools: bool
) -> None:
    server_that(server, **can)
    found = try_model(OpenAICompatibleLLM(server.url, "m"))
    assert (found.problem, found.answers, found.tool_calls, found.usage, found.cached) == (
        "",
        answers,
        tools,
        True,
        True,
    )
    assert found.limits == {"requests": 60, "tokens": 150000}
    assert found.calls <= 4


def test_a_server_that_bills_in_silence_and_calls_the_wrong_tool_is_found_out(server: ModelServer) -> None:
    server.says(answered(EIGHT, tool_calls=[SEVEN | {"function": {"name": "other", "arguments": "{}"}}]))
    found = try_model(OpenAICompatibleLLM(server.url, "m"))
    assert (found.usage, found.cached, found.tool_calls, found.limits) == (False, False, False, {})


@pytest.mark.django_db
class TestCommand:
    def told(self, *words: str) -> list[dict[str, Any]]:
        out = io.StringIO()
        call_command("check_llm", *words, "--json", stdout=out)
        found: list[dict[str, Any]] = json.loads(out.getvalue())
        return found

    def test_what_is_found_is_stored_and_a_later_trial_replaces_it(self, server: ModelServer) -> None:
        services.add_provider("here", team=None, base_url=server.url, model_names=["a", "b"], by="x")
        server_that(server, schema=False, tools=False)
        assert [found["answers"] for found in self.told("--provider", "here")] == ["json_object", "json_object"]
        assert {row.name for row in Capability.objects.all()} == {f"model {m} at {server.url}" for m in "ab"}
        server_that(server)
        self.told("--provider", "here", "--model", "a")
        assert dict(Capability.objects.values_list("answers", "tool_calls")) == {
            "json_schema": True,
            "json_object": False,
        }
        out = io.StringIO()
        call_command("check_llm", "--provider", "here", "--model", "a", stdout=out)
        assert "✓ JSON: by a JSON schema" in out.getvalue()
        assert "150000 tokens" in out.getvalue()

    def test_a_model_that_does_not_answer_is_an_error_and_nothing_is_known_of_it(self, server: ModelServer) -> None:
        services.add_provider("here", team=None, base_url=server.url, key="sk-secret-123456", by="x")
        server.says(refused(401, "bad key sk-secret-123456"))
        out = io.StringIO()
        with pytest.raises(SystemExit) as caught:
            call_command("check_llm", "--provider", "here", "--model", "m", stdout=out)
        assert caught.value.code == 1
        assert "refuses the key" in out.getvalue()
        assert "sk-secret" not in out.getvalue()
        assert not Capability.objects.exists()

    def test_the_machine_s_own_model_is_tried_and_its_workers_ask_as_it_can(
        self, server: ModelServer, settings: Any
    ) -> None:
        settings.LLM_ENVIRONMENT = {"LLM_BASE_URL": server.url, "LLM_MODEL": "m"}
        settings.LLM_TOOL_CALLS = True
        assert equipment.make_tools("w").tool_calls is True
        server_that(server, schema=False, tools=False)
        assert self.told()[0]["tool_calls"] is False
        assert equipment.make_tools("w").tool_calls is False
        assert equipment.make_llm()._habits("m").schema_mode == "json_object"


# ---- at work


@pytest.fixture
def engine(tmp_path: Path, transactional_db: None) -> Iterator[Engine]:
    with ExitStack() as stack:
        made = Engine(tmp_path, stack)
        stack.callback(made.close)
        yield made


def without_tools(asked: list[Any], answerer: Callable[[Any], Answer] = writes_a_file) -> Callable[[Any], Answer]:
    """A model that writes its actions down, as it must where it was offered no tools."""

    def answer(request: Any) -> Answer:
        asked.append(request)
        told = answerer(request)
        if role(request) != "executor" or request.get("tools"):
            return told
        call = told["tool_calls"][0]
        return say({"tool": call["name"], "arguments": json.loads(call["arguments"])})

    return answer


def test_the_agents_ask_as_the_trial_has_shown(engine: Engine) -> None:
    asked: list[Any] = []
    server = engine.serve(without_tools(asked))
    row = services.add_provider("plain", team=None, base_url=server.url, by="x")
    services.record_capability(llms.client_of(row, "m").dependency, answers="json_object", tool_calls=False)
    goal = engine.work(engine.goal("one", role_models=["plain/m"]))
    assert goal.status == "succeeded", goal.reason
    assert not [request for request in asked if request.get("tools")]
    formats = {request["response_format"]["type"] for request in asked if "response_format" in request}
    assert formats == {"json_object"}

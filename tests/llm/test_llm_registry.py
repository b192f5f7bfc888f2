"""Which model the environment names, and what a probe finds out about it."""

from __future__ import annotations

import pytest
from model_server import ModelServer, Say, answered, refused

from agents.errors import Permanent, Transient
from agents.llm.registry import LLMClient, from_environment, probe
from agents.llm.scripted import ScriptedLLM, call, say
from agents.ports import CompletionRequest, Message, ToolCall

HELLO = CompletionRequest((Message("user", "hello"),))
TOOL_CALL = {"id": "1", "function": {"name": "ping", "arguments": "{}"}}


def env(server: ModelServer, **more: str) -> dict[str, str]:
    return {"LLM_BASE_URL": server.url, "LLM_MODEL": "m", **more}


def test_nothing_set_says_what_to_set() -> None:
    with pytest.raises(Permanent) as caught:
        from_environment({"LLM_BASE_URL": " ", "LLM_API_KEY": "sk-1", "LLM_MODEL": "m"})
    assert [
        w for w in ("LLM_BASE_URL=", "LLM_MODEL=", "VENICE_API_KEY", "demo_llm") if w not in str(caught.value)
    ] == []


def test_no_model_named_says_so() -> None:
    with pytest.raises(Permanent, match="set LLM_MODEL"):
        from_environment({"LLM_BASE_URL": "http://127.0.0.1:1/v1"})


def test_the_settings_reach_the_server(server: ModelServer) -> None:
    llm = from_environment(env(server, LLM_API_KEY="sk-1", LLM_MAX_TOKENS="12", LLM_TEMPERATURE="0.7"))
    llm.complete(HELLO)
    asked = server.asked[0]
    assert asked.headers["authorization"] == "Bearer sk-1"
    assert (asked.body["model"], asked.body["max_tokens"], asked.body["temperature"]) == ("m", 12, 0.7)
    assert (llm.model, llm.max_tokens) == ("m", 12)


def test_a_key_of_venice_alone_leads_to_venice() -> None:
    llm = from_environment({"VENICE_API_KEY": "vk-1", "LLM_MODEL": "m"})
    assert llm._base_url == "https://api.venice.ai/api/v1"
    assert llm._headers()["authorization"] == "Bearer vk-1"


@pytest.mark.parametrize("key", ["", "sk-own"])
def test_a_key_of_venice_goes_to_no_other_server(server: ModelServer, key: str) -> None:
    from_environment(env(server, VENICE_API_KEY="vk-1", LLM_API_KEY=key)).complete(HELLO)
    assert server.asked[0].headers.get("authorization", "") == (f"Bearer {key}" if key else "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in ("LLM_MAX_TOKENS", "LLM_TIMEOUT") for value in ("0", "-1", "nan", "inf", "many")),
        ("LLM_MAX_TOKENS", "0.5"),
        ("LLM_TEMPERATURE", "-0.1"),
        ("LLM_TEMPERATURE", "warm"),
    ],
)
def test_a_number_that_is_none_is_refused_by_name(server: ModelServer, name: str, value: str) -> None:
    with pytest.raises(Permanent, match=f"{name} must be a number of at least .*, not '{value}'"):
        from_environment(env(server, **{name: value}))


def test_the_timeout_of_the_environment_is_kept(server: ModelServer) -> None:
    server.says(lambda handler: handler.server.closed.wait())
    with pytest.raises(Transient, match=r"said nothing for 0\.2 seconds"):
        from_environment(env(server, LLM_TIMEOUT="0.2")).complete(HELLO)


def test_a_client_without_arguments_is_that_of_the_environment(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in env(server, LLM_API_KEY="sk-1").items():
        monkeypatch.setenv(name, value)
    client = LLMClient()
    assert client.complete(HELLO).message.content == "hello"
    assert "sk-1" not in repr(client)
    client.abort()
    with pytest.raises(Exception, match="told to stop"):
        client.complete(HELLO)


# ---- probing


def test_a_probe_sees_what_the_model_can(server: ModelServer) -> None:
    server.says(answered('{"ok": true}'), answered(None, tool_calls=[TOOL_CALL]))
    found = probe(env(server))
    assert (found.model, found.problem, found.json_mode, found.tool_calls) == ("m-2026", "", True, True)
    assert found.seconds > 0
    assert "response_format" in server.bodies[0]
    assert server.bodies[1]["tools"][0]["function"]["name"] == "ping"


def test_a_probe_sees_what_the_model_cannot(server: ModelServer) -> None:
    server.says(answered("Sure! Here you are."), answered("ping!"))
    found = probe(env(server))
    assert (found.problem, found.json_mode, found.tool_calls) == ("", False, False)


def test_a_server_that_refuses_tools_is_a_model_without_tools(server: ModelServer) -> None:
    server.says(answered('{"ok": true}'), refused(400, "m does not support tools"))
    found = probe(env(server))
    assert (found.problem, found.json_mode, found.tool_calls) == ("", True, False)


@pytest.mark.parametrize(
    ("answer", "words"),
    [(refused(401, "bad key"), "LLM_API_KEY"), (refused(404, "unknown"), "LLM_MODEL (m)"), (Say(body="<p>"), "JSON")],
)
def test_a_probe_tells_the_problem_after_one_call(server: ModelServer, answer: Say, words: str) -> None:
    server.says(answer)
    found = probe(env(server, LLM_API_KEY="sk-secret"))
    assert words in found.problem
    assert "sk-secret" not in repr(found)
    assert (found.model, len(server.asked)) == ("m", 1)


def test_a_probe_of_nothing_tells_what_to_set() -> None:
    assert "LLM_BASE_URL=" in probe({}).problem


# ---- the scripted client


def test_the_script_is_followed_in_order_and_its_requests_are_kept() -> None:
    llm = ScriptedLLM(["one", call("read_file", path="a.py"), lambda request: request.messages[0].content.upper()])
    assert llm.complete(HELLO) == say("one")
    assert llm.complete(HELLO).message.tool_calls == (ToolCall("call_1", "read_file", '{"path": "a.py"}'),)
    assert llm.complete(HELLO).message.content == "HELLO"
    assert llm.requests == [HELLO] * 3
    with pytest.raises(AssertionError, match="call number 4"):
        llm.complete(HELLO)


def test_the_script_may_break_and_be_ended() -> None:
    llm = ScriptedLLM([Transient("busy"), say("cut", finish_reason="length"), "never said"])
    with pytest.raises(Transient, match="busy"):
        llm.complete(HELLO)
    assert llm.complete(HELLO).finish_reason == "length"
    llm.abort()
    with pytest.raises(Exception, match="aborted"):
        llm.complete(HELLO)

"""What is asked of a model's server, what is understood of its answer, and what is learnt from its refusals."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable

import pytest
from model_server import Handler, ModelServer, Say, answered, refused

from agents.errors import Permanent
from agents.llm.openai_compatible import OpenAICompatibleLLM
from agents.ports import Completion, CompletionRequest, Message, ToolCall, ToolSpec, Usage

HELLO = CompletionRequest((Message("user", "hello"),))
SCHEMA = {"type": "object", "properties": {"ok": {"type": "boolean"}}}
SHAPED = CompletionRequest((Message("user", "answer in JSON"),), schema=SCHEMA, schema_name="plan")


def client(server: ModelServer, **more: object) -> OpenAICompatibleLLM:
    return OpenAICompatibleLLM(server.url, "m", **more)  # type: ignore[arg-type]


def in_threads(*jobs: Callable[[], object]) -> None:
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


# ---- asking


def test_a_conversation_with_tools_is_written_as_servers_expect_it(server: ModelServer) -> None:
    wanted = ToolCall("call_7", "read_file", '{"path": "a.py"}')
    messages = (
        Message("system", "You are the executor"),
        Message("user", "größer \ud800"),
        Message("assistant", "", (wanted,)),
        Message("tool", "x = 1", tool_call_id="call_7"),
    )
    tool = ToolSpec("read_file", "Read a file.", SCHEMA)
    OpenAICompatibleLLM(server.url, " m\n", " sk-1\n", max_tokens=99, temperature=0.5).complete(
        CompletionRequest(messages, (tool,))
    )
    asked = server.asked[0]
    assert asked.path == "/v1/chat/completions"
    assert asked.headers["authorization"] == "Bearer sk-1"
    assert asked.headers["content-type"] == "application/json"
    function = {"name": "read_file", "arguments": '{"path": "a.py"}'}
    assert asked.body == {
        "model": "m",
        "max_tokens": 99,
        "temperature": 0.5,
        "messages": [
            {"role": "system", "content": "You are the executor"},
            {"role": "user", "content": "größer ?"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "call_7", "type": "function", "function": function}],
            },
            {"role": "tool", "content": "x = 1", "tool_call_id": "call_7"},
        ],
        "tools": [
            {"type": "function", "function": {"name": "read_file", "description": "Read a file.", "parameters": SCHEMA}}
        ],
    }


def test_a_request_may_ask_for_fewer_tokens_than_the_client(server: ModelServer) -> None:
    client(server).complete(CompletionRequest(HELLO.messages, max_tokens=5))
    assert server.bodies[0]["max_tokens"] == 5


def test_without_a_key_none_is_sent(server: ModelServer) -> None:
    client(server).complete(HELLO)
    assert "authorization" not in server.asked[0].headers


def test_a_person_in_the_address_is_sent_as_a_header_only(server: ModelServer) -> None:
    url = server.url.replace("http://", "http://ada:p%40ss@") + "/"
    OpenAICompatibleLLM(url, "m").complete(HELLO)
    assert server.asked[0].path == "/v1/chat/completions"
    assert server.asked[0].headers["authorization"] == "Basic " + base64.b64encode(b"ada:p@ss").decode()


def test_a_redirect_is_not_followed(server: ModelServer) -> None:
    server.says(Say(307, "", {"location": f"{server.url}/chat/completions"}), answered("never asked"))
    with pytest.raises(Permanent, match="set LLM_BASE_URL to the final address"):
        client(server, api_key="sk-1").complete(HELLO)
    assert len(server.asked) == 1


# ---- understanding


def test_a_text_answer_is_understood(server: ModelServer) -> None:
    server.says(answered("hello", usage={"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}))
    assert client(server).complete(HELLO) == Completion(Message("assistant", "hello"), "stop", Usage(10, 3), "m-2026")


def test_tool_calls_are_understood_also_where_servers_are_sloppy(server: ModelServer) -> None:
    calls = [
        {"id": "a", "type": "function", "function": {"name": "one", "arguments": '{"x": 1}'}},
        {"function": {"name": "two", "arguments": {"x": 2}}},
        {"id": None, "function": {"name": "three"}},
    ]
    server.says(answered(None, finish_reason="tool_calls", tool_calls=calls))
    said = client(server).complete(HELLO)
    assert said.finish_reason == "tool_calls"
    assert said.message.content == ""
    assert said.message.tool_calls == (
        ToolCall("a", "one", '{"x": 1}'),
        ToolCall("call_1", "two", '{"x": 2}'),
        ToolCall("call_2", "three", "{}"),
    )


def test_a_text_in_parts_is_put_together(server: ModelServer) -> None:
    server.says(answered([{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}, "noise"]))
    assert client(server).complete(HELLO).message.content == "hello"


def test_an_answer_cut_by_the_limit_says_so(server: ModelServer) -> None:
    server.says(answered('{"steps": [', finish_reason="length"))
    said = client(server).complete(SHAPED)
    assert (said.finish_reason, said.message.content) == ("length", '{"steps": [')


@pytest.mark.parametrize(
    ("said", "usage"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 2}, Usage(9, 2, 0)),
        ({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 7}}, Usage(9, 2, 7)),
        ({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": None}, Usage(9, 2, 0)),
        ({"prompt_tokens": 9}, Usage(9, 0, 0)),
        ({"prompt_tokens": -4, "completion_tokens": 10**12}, Usage(0, 2_000_000_000, 0)),
        (None, Usage(10, 3, 0)),
        ({"prompt_tokens": None}, Usage(10, 3, 0)),
        ("much", Usage(10, 3, 0)),
    ],
)
def test_usage_is_taken_as_billed_or_estimated_by_size(server: ModelServer, said: object, usage: Usage) -> None:
    server.says(answered("7 bytes", usage=said))
    asked = (Message("user", "ü" * 5), Message("assistant", "", (ToolCall("1", "t", "x" * 18),)))
    assert client(server).complete(CompletionRequest(asked)).usage == usage


# ---- what a server turns out not to understand


def formats(server: ModelServer) -> list[str]:
    return [body.get("response_format", {}).get("type", "text") for body in server.bodies]


def test_a_schema_is_asked_for_by_the_best_means(server: ModelServer) -> None:
    client(server).complete(SHAPED)
    shape = {"name": "plan", "schema": SCHEMA}
    assert server.bodies[0]["response_format"] == {"type": "json_schema", "json_schema": shape}


@pytest.mark.parametrize("status", [400, 422])
def test_a_server_without_schemas_is_asked_in_its_own_way_and_that_is_remembered(
    server: ModelServer, status: int
) -> None:
    no_schema = refused(status, "response_format.type json_schema is not known here")
    no_object = refused(status, "'response_format' is not permitted")
    server.says(no_schema, no_object, answered("{}"))
    assert client(server).complete(SHAPED).message.content == "{}"
    assert formats(server) == ["json_schema", "json_object", "text"]
    client(server).complete(SHAPED)
    assert formats(server)[3:] == ["text"]


def test_what_one_model_does_not_know_another_at_the_same_address_may(server: ModelServer) -> None:
    server.says(refused(400, "This model does not support structured outputs"), answered("{}"))
    client(server).complete(SHAPED)
    OpenAICompatibleLLM(server.url, "other").complete(SHAPED)
    assert formats(server) == ["json_schema", "json_object", "json_schema"]


def test_a_server_that_refuses_every_way_is_asked_three_times_and_no_more(server: ModelServer) -> None:
    server.says(refused(400, "response_format json_schema max_completion_tokens is what I do not like"))
    with pytest.raises(Permanent, match="what I do not like"):
        client(server).complete(SHAPED)
    assert formats(server) == ["json_schema", "json_schema", "json_object", "text"]


def test_a_refusal_that_names_a_format_that_was_not_asked_for_is_final(server: ModelServer) -> None:
    server.says(refused(400, "response_format is not understood"))
    with pytest.raises(Permanent):
        client(server).complete(HELLO)
    assert len(server.asked) == 1


def test_the_newer_name_of_the_limit_is_learnt(server: ModelServer) -> None:
    said = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    server.says(refused(400, said), answered())
    client(server, max_tokens=77).complete(HELLO)
    client(server, max_tokens=78).complete(HELLO)
    limits = [(body.get("max_tokens"), body.get("max_completion_tokens")) for body in server.bodies]
    assert limits == [(77, None), (None, 77), (None, 78)]


def test_a_model_with_a_temperature_of_its_own_is_left_alone(server: ModelServer) -> None:
    said = (
        "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported."
    )
    server.says(refused(400, said), answered())
    client(server).complete(HELLO)
    client(server).complete(HELLO)
    assert ["temperature" in body for body in server.bodies] == [True, False, False]


def test_a_temperature_out_of_range_is_the_persons_to_correct(server: ModelServer) -> None:
    server.says(refused(400, "temperature must be at most 2"))
    with pytest.raises(Permanent, match="at most 2"):
        client(server, temperature=3.0).complete(HELLO)
    assert len(server.asked) == 1


def test_two_threads_that_learn_the_same_thing_do_not_learn_it_twice(server: ModelServer) -> None:
    together = threading.Barrier(2, timeout=30)

    def refuses(handler: Handler) -> None:
        together.wait()
        handler.give(refused(400, "use max_completion_tokens, and no response_format json_schema"))

    server.says(refuses, refuses, refuses, refuses, answered("{}"))
    answers: list[str] = []
    ask = lambda: answers.append(client(server).complete(SHAPED).message.content)  # noqa: E731
    in_threads(ask, ask)
    assert answers == ["{}", "{}"]
    assert sorted(formats(server)) == ["json_object"] * 2 + ["json_schema"] * 4


# ---- connections


def test_a_threads_calls_share_one_connection_whatever_object_makes_them(server: ModelServer) -> None:
    for _ in range(3):
        client(server).complete(HELLO)
    assert len({asked.line for asked in server.asked}) == 1


def test_each_thread_has_a_connection_of_its_own(server: ModelServer) -> None:
    mine = client(server)
    mine.complete(HELLO)
    in_threads(lambda: mine.complete(HELLO), lambda: mine.complete(HELLO))
    assert len({asked.line for asked in server.asked}) == 3


def test_a_connection_that_the_server_ended_is_made_anew(server: ModelServer) -> None:
    server.says(Say(body=answered().body, headers={"connection": "close"}), answered("still here"))
    client(server).complete(HELLO)
    assert client(server).complete(HELLO).message.content == "still here"


def test_a_thread_may_talk_to_two_servers_in_turn(server: ModelServer) -> None:
    other = ModelServer()
    try:
        for place in (server, other, server, other):
            assert client(place).complete(HELLO).message.content == "hello"
    finally:
        other.stop()
    assert (len(server.asked), len(other.asked)) == (2, 2)

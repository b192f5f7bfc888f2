"""Every way in which a model's server can say no, break or lie: what kind of error it is, what it says, and how often it is asked."""

from __future__ import annotations

import base64
import gzip
import logging
import socket
import time
import traceback
from email.utils import formatdate

import pytest
from model_server import Answer, ModelServer, Say, answered, endless, never, refused, stops_in_the_middle

from agents.errors import AgentError, Permanent, Transient
from agents.llm.openai_compatible import OpenAICompatibleLLM, Timeouts
from agents.ports import CompletionRequest, Message

KEY = "sk-very-secret-5f1e"
HELLO = CompletionRequest((Message("user", "hello"),))
QUICK = Timeouts(connect=0.3, read=0.3, write=0.3, pool=0.3)
HTML = {"content-type": "text/html; charset=utf-8"}
NO_CREDIT = "the account at the model's server has no credit left"


def failure(base_url: str, *, timeouts: Timeouts | None = None, max_reply_bytes: int = 8 * 2**20) -> AgentError:
    llm = OpenAICompatibleLLM(base_url, "m", KEY, timeouts=timeouts, max_reply_bytes=max_reply_bytes)
    with pytest.raises(AgentError) as caught:
        llm.complete(HELLO)
    return caught.value


REFUSALS = [
    # what the server answers, what it is, how often it is asked, words of the message
    (refused(401, "bad key"), Permanent, 1, ["HTTP 401", "LLM_API_KEY", "bad key"]),
    (refused(403, "not you"), Permanent, 1, ["HTTP 403", "LLM_API_KEY", "not you"]),
    (refused(404, "no such model"), Permanent, 1, ["HTTP 404", "LLM_BASE_URL", "LLM_MODEL (m)", "no such model"]),
    (refused(400, "too many tokens"), Permanent, 1, ["longer than the model can read (HTTP 400)", "too many tokens"]),
    (refused(422, "no"), Permanent, 1, ["refuses the request (HTTP 422)"]),
    (refused(413, "too large"), Permanent, 1, ["HTTP 413", "too large"]),
    (refused(402, "pay first"), Permanent, 1, [NO_CREDIT, "pay first"]),
    (refused(429, "pay first", code="insufficient_quota"), Permanent, 1, [NO_CREDIT]),
    (refused(403, "Insufficient Balance"), Permanent, 1, [NO_CREDIT]),
    (refused(429, "check your plan and billing"), Transient, 1, ["slow down (HTTP 429)"]),
    (refused(408, "too slow"), Transient, 1, ["HTTP 408"]),
    (refused(500, "insufficient_quota of threads"), Transient, 1, ["failed (HTTP 500)"]),
    (refused(502, "bad gateway"), Transient, 3, ["failed (HTTP 502)", "bad gateway"]),
    (refused(503, "loading"), Transient, 3, ["HTTP 503", "loading"]),
    (refused(504, "upstream"), Transient, 3, ["HTTP 504"]),
    (Say(302, b"", {"location": "https://elsewhere.example/v1"}), Permanent, 1, ["elsewhere.example", "LLM_BASE_URL"]),
    (Say(500, "<html>x</html>", HTML), Transient, 1, ["HTTP 500", "It sent text/html."]),
    (Say(400, "plain words"), Permanent, 1, ["plain words"]),
    (Say(400, {"error": "only text"}), Permanent, 1, ["only text"]),
    (Say(422, {"detail": [{"loc": ["body", "messages"]}]}), Permanent, 1, ["messages"]),
    (Say(400, "[" * 200_000), Permanent, 1, ["[[["]),
    (Say(400, b"\xff\xfe\x00\x1b[31m red"), Permanent, 1, ["red"]),
]


@pytest.mark.parametrize(("answer", "kind", "calls", "words"), REFUSALS)
def test_a_refusal_is_told_by_kind_and_remedy(
    server: ModelServer, answer: Say, kind: type[AgentError], calls: int, words: list[str]
) -> None:
    server.says(answer)
    error = failure(server.url)
    assert type(error) is kind
    assert [word for word in words if word not in str(error)] == []
    assert len(server.asked) == calls
    assert str(error).isprintable()
    assert len(str(error)) < 700


UNUSABLE = [
    # what comes with status 200, words of the message
    (Say(body="<html>Please log in</html>", headers=HTML), "no JSON, or only a part of it (content type: text/html)"),
    (Say(body="", headers={"content-type": ""}), "(content type: no content type)"),
    (Say(body='{"choices": [{"message": {"content": "hel'), "or only a part of it (content type: application/json)"),
    (Say(body="[" * 200_000), "sent no JSON"),
    (Say(body=b'{"choices": "\xff"}'), "sent no JSON"),
    (Say(body={"choices": []}), "without choices"),
    (Say(body={"choices": None}), "without choices"),
    (Say(body=["no object"]), "without choices"),
    (Say(body={"error": {"message": "the upstream is tired"}}), "the upstream is tired"),
    (Say(body={"choices": [{"message": None}]}), "unknown shape"),
    (Say(body={"choices": {"0": "x"}}), "unknown shape"),
    (Say(body={"choices": ["x"]}), "unknown shape"),
    (answered(tool_calls=[{"id": "1"}]), "unknown shape"),
    (answered(usage={"prompt_tokens": float("inf")}), "unknown shape"),
    (answered(usage={"prompt_tokens": "many"}), "unknown shape"),
    (Say(body='{"choices": [', length=1000), "broke"),
    (Say(body=b"no gzip", headers={"content-encoding": "gzip"}), "broke"),
]


@pytest.mark.parametrize(("answer", "words"), UNUSABLE)
def test_an_answer_that_cannot_be_used_is_worth_another_try_later(server: ModelServer, answer: Say, words: str) -> None:
    server.says(answer)
    error = failure(server.url)
    assert type(error) is Transient
    assert words in str(error)
    assert len(server.asked) == 1, "it may have been billed: only the run tries again"


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_short_hiccup_of_a_gateway_is_not_even_noticed(server: ModelServer, status: int) -> None:
    server.says(refused(status, "restarting"), refused(status, "restarting"), answered("back"))
    assert OpenAICompatibleLLM(server.url, "m").complete(HELLO).message.content == "back"


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [
        ("7", 7, 7),
        ("1.5", 1.5, 1.5),
        ("9" * 400, 86400, 86400),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0, 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86400, 86400),
    ],
)
@pytest.mark.parametrize("status", [429, 500])
def test_retry_after_is_understood_in_seconds_and_as_a_date(
    server: ModelServer, status: int, said: str, least: float, most: float
) -> None:
    server.says(refused(status, "later", {"retry-after": said}))
    error = failure(server.url)
    assert isinstance(error, Transient)
    assert error.retry_after is not None
    assert least <= error.retry_after <= most


def test_retry_after_as_a_date_soon_is_the_time_until_then(server: ModelServer) -> None:
    # the date is written here, not at collection: a long suite would have passed it by
    server.says(refused(429, "later", {"retry-after": formatdate(time.time() + 3600, usegmt=True)}))
    error = failure(server.url)
    assert isinstance(error, Transient)
    assert error.retry_after is not None
    assert 3000 < error.retry_after <= 3600


@pytest.mark.parametrize("said", ["", "soon", "nan", "inf", "-3", "12 parsecs", "Mon, 99 Foo 2026"])
def test_a_retry_after_that_means_nothing_is_passed_over(server: ModelServer, said: str) -> None:
    server.says(refused(429, "later", {"retry-after": said}))
    error = failure(server.url)
    assert isinstance(error, Transient)
    assert error.retry_after is None


@pytest.mark.parametrize("answer", [never, stops_in_the_middle])
def test_a_silent_model_is_given_up_after_the_read_timeout_and_not_asked_again(
    server: ModelServer, answer: Answer
) -> None:
    server.says(answer)
    error = failure(server.url, timeouts=QUICK)
    assert type(error) is Transient
    assert str(error) == f"the model at {server.host} said nothing for 0.3 seconds (LLM_TIMEOUT)"
    assert server.reached.wait(10)
    assert len(server.asked) == 1


def test_a_server_that_hangs_up_is_worth_another_try_later(server: ModelServer) -> None:
    def hangs_up(handler: object) -> None:
        handler.connection.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]

    server.says(hangs_up)
    error = failure(server.url)
    assert type(error) is Transient
    assert f"the connection to the model at {server.host} broke" in str(error)


def test_nobody_at_the_address_is_named_with_the_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    error = failure(f"http://127.0.0.1:{port}/v1")
    assert type(error) is Transient
    assert f"no server answers at 127.0.0.1:{port}" in str(error)
    assert "is it running? LLM_BASE_URL" in str(error)


def test_a_name_that_nobody_knows_is_told_too() -> None:
    error = failure("http://nobody.invalid/v1")
    assert type(error) is Transient
    assert "no server answers at nobody.invalid" in str(error)


def test_a_server_that_takes_no_connection_is_given_up_after_the_connect_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.create_connection(full.getsockname()):
        error = failure(f"http://127.0.0.1:{full.getsockname()[1]}/v1", timeouts=QUICK)
    assert type(error) is Transient
    assert "no server answers" in str(error)


def test_a_server_that_does_not_read_is_given_up_after_the_write_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/v1"
        llm = OpenAICompatibleLLM(url, "m", timeouts=QUICK)
        with pytest.raises(Transient, match=r"broke: .*timed out"):
            llm.complete(CompletionRequest((Message("user", "x" * 20_000_000),)))


def test_a_reply_above_the_cap_is_refused_without_reading_its_end(server: ModelServer) -> None:
    server.says(endless)
    error = failure(server.url)
    assert type(error) is Permanent
    assert str(error) == "the model's answer is larger than 8 MiB; nothing of it is used"


def test_a_small_reply_that_unpacks_to_a_large_one_is_refused_too(server: ModelServer) -> None:
    server.says(Say(body=gzip.compress(b" " * 5_000_000), headers={"content-encoding": "gzip"}))
    assert "larger than 1 MiB" in str(failure(server.url, max_reply_bytes=2**20))


def test_an_untrusted_certificate_is_no_reason_to_try_again() -> None:
    server = ModelServer(tls=True)
    try:
        error = failure(server.url)
    finally:
        server.stop()
    assert type(error) is Permanent
    assert f"the certificate of {server.host} is not trusted" in str(error)


# ---- secrets


def shown(error: BaseException) -> str:
    return "".join((str(error), repr(error), repr(vars(error)), *traceback.format_exception(error)))


LOUD = f"Incorrect API key provided: Bearer {KEY}, of ada:pass-of-ada and pass-of-ada"
PERSON = "ada:pass-of-ada@"


@pytest.mark.parametrize("person", ["", PERSON])
@pytest.mark.parametrize(
    "answer",
    [
        *(refused(status, LOUD) for status in (400, 401, 402, 403, 404, 422, 429, 500)),
        Say(400, LOUD),
        Say(401, {"error": LOUD}),
        Say(401, {"detail": {"key": LOUD}}),
        Say(302, "", {"location": f"http://{PERSON}127.0.0.1/?key={KEY}"}),
        Say(body={"error": {"message": LOUD}}),
        Say(body="x", headers={"content-type": LOUD}),
        Say(body="{", length=1000),
    ],
)
def test_no_secret_is_in_an_error_a_log_or_a_repr(
    server: ModelServer, caplog: pytest.LogCaptureFixture, answer: Say, person: str
) -> None:
    caplog.set_level(logging.DEBUG, "httpx")
    caplog.set_level(logging.INFO, "httpcore")
    server.says(answer)
    url = server.url.replace("http://", f"http://{person}")
    llm = OpenAICompatibleLLM(url, "m", KEY)
    with pytest.raises(AgentError) as caught:
        llm.complete(HELLO)
    everything = shown(caught.value) + caplog.text + repr(llm) + str(llm)
    assert "HTTP Request" in caplog.text
    assert KEY not in everything
    if person:
        assert "pass-of-ada" not in everything
    assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("person", ["token-of-ada", "token-of-ada:", ":token-of-ada", "ada:token-of-ada"])
def test_a_person_in_the_address_is_not_repeated_either(server: ModelServer, person: str) -> None:
    coded = base64.b64encode((person if ":" in person else f"{person}:").encode()).decode()
    server.says(refused(401, f"who is token-of-ada? I got Basic {coded}"))
    llm = OpenAICompatibleLLM(server.url.replace("http://", f"http://{person}@"), "m")
    with pytest.raises(Permanent) as caught:
        llm.complete(HELLO)
    assert server.asked[0].headers["authorization"] == f"Basic {coded}"
    assert "who is [key]? I got Basic [key]" in str(caught.value)


def test_no_secret_is_in_an_error_without_a_server(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    everything = shown(failure(f"http://{PERSON}127.0.0.1:{port}/v1")) + caplog.text
    assert KEY not in everything
    assert "pass-of-ada" not in everything


@pytest.mark.parametrize(
    "url", ["", "localhost:1", "ftp://{}h/v1", "http://{}h:port/v1", "http://{}[::1/v1", "http://"]
)
def test_an_address_that_is_none_is_refused_at_once_and_not_repeated(url: str) -> None:
    with pytest.raises(Permanent, match="LLM_BASE_URL is not an address") as caught:
        OpenAICompatibleLLM(url.format(PERSON), "m", KEY)
    assert "pass-of-ada" not in shown(caught.value)


@pytest.mark.parametrize("key", [f"{KEY}\nx", f"{KEY}é", f"{KEY}\x00", f"{KEY}\ud800"])
def test_a_key_that_no_header_can_carry_is_refused_at_once_and_not_repeated(key: str) -> None:
    with pytest.raises(Permanent, match="LLM_API_KEY holds characters") as caught:
        OpenAICompatibleLLM("http://127.0.0.1:1/v1", "m", key)
    assert KEY not in shown(caught.value)


@pytest.mark.parametrize("model", ["", "  ", "\n"])
def test_a_model_without_a_name_is_refused_before_any_call(model: str) -> None:
    with pytest.raises(Permanent, match="set LLM_MODEL"):
        OpenAICompatibleLLM("http://127.0.0.1:1/v1", model)

"""Ending a call from another thread. Nothing here would end by itself: the model's timeout is five minutes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from model_server import CERTIFICATE, Answer, ModelServer, answered, never, refused, stops_in_the_middle

from agents.errors import AgentError, Cancelled
from agents.llm import http
from agents.llm.openai_compatible import OpenAICompatibleLLM
from agents.ports import CompletionRequest, Message

HELLO = CompletionRequest((Message("user", "hello"),))


@pytest.fixture(params=["http", "https"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    """A server in plain text, and one behind TLS whose certificate the process trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    http._tls.cache_clear()
    server = ModelServer(tls=request.param == "https")
    yield server
    server.stop()
    http._tls.cache_clear()


class Call:
    """A call in a thread of its own, after `before` in the same thread."""

    def __init__(self, llm: OpenAICompatibleLLM, before: Callable[[], object] = lambda: None) -> None:
        self.error: AgentError | None = None
        self.llm, self.before = llm, before
        self.then: list[str] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.before()
        try:
            self.llm.complete(HELLO)
        except AgentError as error:
            self.error = error
            self.after()

    def after(self) -> None:
        """The thread goes on with another run: with another object."""
        self.then.append(OpenAICompatibleLLM(self.llm._base_url, "m").complete(HELLO).message.content)

    def end(self) -> AgentError | None:
        self._thread.join(10)
        assert not self._thread.is_alive(), "the call was not woken"
        return self.error


@pytest.mark.parametrize("silence", [never, stops_in_the_middle])
@pytest.mark.parametrize("kept_alive", [False, True])
def test_a_call_that_is_never_answered_ends_at_once(place: ModelServer, silence: Answer, kept_alive: bool) -> None:
    place.says(*([answered("first")] if kept_alive else []), silence, answered("next"))
    first = OpenAICompatibleLLM(place.url, "m")
    llm = OpenAICompatibleLLM(place.url, "m")
    call = Call(llm, (lambda: first.complete(HELLO)) if kept_alive else lambda: None)
    assert place.reached.wait(10)
    assert len({asked.line for asked in place.asked}) == 1
    llm.abort()
    llm.abort()
    assert isinstance(call.end(), Cancelled)
    assert call.then == ["next"], "the thread's client works on, for other runs"
    with pytest.raises(Cancelled):
        llm.complete(HELLO)


def test_a_call_ends_at_once_also_where_its_thread_talked_to_another_server_before(place: ModelServer) -> None:
    other = ModelServer()
    place.says(answered("first"), never, answered("next"))
    llm = OpenAICompatibleLLM(place.url, "m")

    def before() -> None:
        for url in (place.url, other.url):
            OpenAICompatibleLLM(url, "m").complete(HELLO)

    call = Call(llm, before)
    try:
        assert place.reached.wait(10)
        llm.abort()
        assert isinstance(call.end(), Cancelled)
    finally:
        other.stop()


def test_an_aborted_object_asks_nobody(server: ModelServer) -> None:
    llm = OpenAICompatibleLLM(server.url, "m")
    llm.abort()
    with pytest.raises(Cancelled):
        llm.complete(HELLO)
    assert server.asked == []


def test_one_runs_end_is_not_the_end_of_another(server: ModelServer) -> None:
    """Two runs in two threads wait for the same server; the first is ended."""
    waits, opened = threading.Semaphore(0), threading.Event()

    def waits_for_us(handler: object) -> None:
        waits.release()
        opened.wait(30)
        handler.give(answered("in the end"))  # type: ignore[attr-defined]

    server.says(waits_for_us)
    ended, other = OpenAICompatibleLLM(server.url, "m"), OpenAICompatibleLLM(server.url, "m")
    said: list[str] = []

    def ends() -> None:
        with pytest.raises(Cancelled):
            ended.complete(HELLO)
        said.append("ended")

    calls = [
        threading.Thread(target=ends),
        threading.Thread(target=lambda: said.append(other.complete(HELLO).message.content)),
    ]
    for call in calls:
        call.start()
        assert waits.acquire(timeout=10)
    ended.abort()
    calls[0].join(10)
    assert not calls[0].is_alive()
    assert calls[1].is_alive()
    opened.set()
    calls[1].join(10)
    assert said == ["ended", "in the end"]


def test_an_abort_between_two_quick_tries_ends_them(server: ModelServer) -> None:
    llm = OpenAICompatibleLLM(server.url, "m")

    def aborts_then_refuses(handler: object) -> None:
        llm.abort()
        handler.give(refused(503, "loading"))  # type: ignore[attr-defined]

    server.says(aborts_then_refuses)
    with pytest.raises(Cancelled):
        llm.complete(HELLO)
    assert len(server.asked) == 1


def test_a_call_that_is_ended_while_it_connects_ends_once_it_is_connected(place: ModelServer) -> None:
    place.says(never)
    line = http.Line()
    line.cut()
    with pytest.raises(Cancelled):
        http.post(line, f"{place.url}/chat/completions", {}, b"{}", http.Timeouts(), 1000)

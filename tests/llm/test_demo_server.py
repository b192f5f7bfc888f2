"""The demo model over real HTTP: the whole example, every other goal, its faults, and its book."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agents.errors import Permanent, Transient
from agents.llm.demo_model import MODEL
from agents.llm.demo_server import LARGEST_REQUEST, DemoServer, Faults, serve
from agents.llm.openai_compatible import OpenAICompatibleLLM, Timeouts
from agents.ports import Completion, CompletionRequest, Message, ToolSpec

EXAMPLES = Path(__file__).parents[2] / "examples"
GOAL = (EXAMPLES / "demo_goal.txt").read_text()
SUITE = "python3 -m unittest discover -s tests -t ."
TOOLS = (ToolSpec("run_command", "Run.", {"type": "object"}),)


@contextmanager
def running(**options: Any) -> Iterator[DemoServer]:
    server = serve(**options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def demo() -> Iterator[DemoServer]:
    with running() as server:
        yield server


def model(server: DemoServer, **more: Any) -> OpenAICompatibleLLM:
    return OpenAICompatibleLLM(server.url, MODEL, **more)


def briefed(role: str, brief: Mapping[str, Any], *more: Message) -> tuple[Message, ...]:
    text = f"# Your brief\n\n```json\n{json.dumps(brief, indent=1)}\n```\n"
    return (Message("system", f"You are the {role} of a team."), Message("user", text), *more)


PLANNING = CompletionRequest(briefed("planner", {"goal": GOAL}))


def post(server: DemoServer, body: bytes, path: str = "/v1/chat/completions", **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# ---- the example


class Shop:
    """The example's files in a folder, and the tools by which a model acts on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for path in (EXAMPLES / "demo_repo").rglob("*.py"):
            mine = folder / path.relative_to(EXAMPLES / "demo_repo")
            mine.parent.mkdir(parents=True, exist_ok=True)
            mine.write_text(path.read_text())

    def run_command(self, command: str) -> str:
        argv = [sys.executable, "-B", *command.split()[1:]]
        done = subprocess.run(argv, cwd=self.folder, capture_output=True, text=True, check=False, timeout=60)
        return f"exit code {done.returncode}\n{done.stdout}{done.stderr}"

    def read_file(self, path: str) -> str:
        return (self.folder / path).read_text()

    def edit_file(self, path: str, old: str, new: str) -> str:
        text = self.read_file(path)
        assert text.count(old) == 1
        (self.folder / path).write_text(text.replace(old, new))
        return f"{path} is changed"

    def search(self, pattern: str, path: str = ".") -> str:
        return f"{path}/pricing.py:4: def discounted(price: int, percent: int) -> int:"

    def check(self) -> dict[str, Any]:
        output = self.run_command(SUITE)
        return {"command": SUITE, "passed": output.startswith("exit code 0\n"), "output": output}


def wanted(said: Completion) -> tuple[str, dict[str, Any]]:
    """The tool that an answer asks for, by tool call or as a fenced action; ("", answer) where it asks for none."""
    if said.message.tool_calls:
        return said.message.tool_calls[0].name, json.loads(said.message.tool_calls[0].arguments)
    found = json.loads(said.message.content.removeprefix("```json\n").removesuffix("\n```"))
    return (found["tool"], found["arguments"]) if "tool" in found else ("", found)


def talk(llm: OpenAICompatibleLLM, shop: Shop, role: str, brief: Mapping[str, Any], by_tools: bool) -> dict[str, Any]:
    """A conversation to its end: the answer, or the arguments of `finish`."""
    more: list[Message] = []
    for _ in range(10):
        said = llm.complete(CompletionRequest(briefed(role, brief, *more), TOOLS if by_tools else ()))
        name, arguments = wanted(said)
        if name in ("", "finish"):
            return arguments
        result = getattr(shop, name)(**arguments)
        call_id = said.message.tool_calls[0].id if by_tools else ""
        more += [said.message, Message("tool", result, tool_call_id=call_id) if by_tools else Message("user", result)]
    raise AssertionError(f"the {role} does not come to an end: {more}")


@pytest.mark.parametrize("by_tools", [True, False])
def test_the_three_roles_bring_the_example_to_its_end(demo: DemoServer, tmp_path: Path, by_tools: bool) -> None:
    llm, shop = model(demo), Shop(tmp_path)
    before = shop.check()
    assert before["output"].count("\nFAIL: ") == 2
    assert not before["passed"]

    plan = talk(llm, shop, "planner", {"goal": GOAL, "checks": [before]}, by_tools)
    assert [step["writes"] for step in plan["steps"]] == [["tinyshop/inventory.py"], ["tinyshop/pricing.py"]]
    assert all(step["can_parallelize"] and not step.get("dependencies") for step in plan["steps"])

    for step in plan["steps"]:
        finish = talk(llm, shop, "executor", {"goal": GOAL, "step": step}, by_tools)
        assert (finish["success"], finish["evidence"]) == (True, [step["check"]])

    after = shop.check()
    assert after["passed"]
    packet = {"goal": GOAL, "checks_after": [after], "evidence": [{"id": "c1"}, {"id": "r2"}]}
    verdict = talk(llm, shop, "reviewer", packet, by_tools)
    assert (verdict["action"], verdict["evidence"]) == ("complete", ["c1", "r2"])
    assert {entry["role"] for entry in demo.calls} == {"planner", "executor", "reviewer"}


def test_a_step_whose_check_still_fails_is_not_called_done(demo: DemoServer, tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    (tmp_path / "tinyshop/pricing.py").write_text("def discounted(price, percent): return 0\n")
    step = {"description": "Fix tinyshop/pricing.py", "check": "python3 -m unittest tests.test_pricing"}
    finish = talk(model(demo), shop, "executor", {"goal": GOAL, "step": step}, True)
    assert finish["success"] is False
    assert "still fails: exit code 1" in finish["summary"]


def test_a_step_that_is_done_already_is_only_checked(demo: DemoServer, tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.edit_file("tinyshop/inventory.py", "stock < reorder_point", "stock <= reorder_point")
    step = {"description": "Fix tinyshop/inventory.py", "check": "python3 -m unittest tests.test_inventory"}
    assert talk(model(demo), shop, "executor", {"goal": GOAL, "step": step}, True)["success"] is True


def test_without_failing_tests_the_plan_is_to_run_them(demo: DemoServer, tmp_path: Path) -> None:
    plan = talk(model(demo), Shop(tmp_path), "planner", {"goal": GOAL, "checks": []}, False)
    assert [step["check"] for step in plan["steps"]] == [SUITE]


@pytest.mark.parametrize("checks", [[], [{"passed": True}, {"passed": False}]])
def test_the_reviewer_completes_nothing_without_green_checks(
    demo: DemoServer, tmp_path: Path, checks: list[Any]
) -> None:
    packet = {"goal": GOAL, "checks_after": checks, "steps": [{"index": 1}], "evidence": [{"id": "c1"}]}
    verdict = talk(model(demo), Shop(tmp_path), "reviewer", packet, False)
    assert (verdict["action"], verdict["steps"], verdict["evidence"]) == ("retry_with_changes", [1], ["c1"])


def test_the_same_request_gets_the_same_answer(demo: DemoServer) -> None:
    assert model(demo).complete(PLANNING) == model(demo).complete(PLANNING)


def test_the_model_says_that_it_is_scripted_and_what_it_used(demo: DemoServer) -> None:
    said = model(demo).complete(PLANNING)
    assert said.model == MODEL
    assert "scripted" in MODEL
    assert said.usage.prompt > len(GOAL) // 4
    assert said.usage.completion > 0


# ---- everything else


@pytest.mark.parametrize(
    "messages",
    [
        briefed("planner", {"goal": "Make me rich"}),
        briefed("planner", {"goal": "Write a manual for tinyshop"}),
        briefed("planner", {"goal": f"{GOAL} Then write a manual."}),
        briefed("executor", {"goal": "Fix the parser", "step": {}}),
        briefed("poet", {"goal": GOAL}),
        (Message("user", "hello"),),
        (Message("system", "You are the planner"), Message("user", "tinyshop, but no brief")),
        (Message("system", "You are the planner"), Message("user", "```json\n{tinyshop\n```")),
        (Message("system", "You are the planner"), Message("user", '```json\n["tinyshop"]\n```')),
    ],
)
def test_any_other_goal_is_refused_with_how_to_use_a_real_model(
    demo: DemoServer, messages: tuple[Message, ...]
) -> None:
    with pytest.raises(Permanent) as caught:
        model(demo).complete(CompletionRequest(messages))
    said = str(caught.value)
    assert [w for w in ("scripted demo model", "LLM_BASE_URL", "LLM_MODEL", "LLM_API_KEY") if w not in said] == []
    assert len(demo.calls) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"messages": []}',
        b'{"messages": "hi"}',
        b'{"messages": [1]}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_chat_request_is_refused_and_not_booked(demo: DemoServer, body: bytes) -> None:
    status, said = post(demo, body)
    assert (status, demo.calls) == (400, [])
    assert "not a chat request" in said["error"]["message"]


@pytest.mark.parametrize("body", [b'{"messages": [{}]}', b'{"messages": [{"role": "user"}, {}]}'])
def test_messages_without_words_are_another_goal(demo: DemoServer, body: bytes) -> None:
    assert post(demo, body)[0] == 400


@pytest.mark.parametrize("length", ["-1", "x", str(LARGEST_REQUEST + 1)])
def test_a_length_that_is_none_or_too_much_is_refused_before_reading(demo: DemoServer, length: str) -> None:
    assert post(demo, b"", **{"content-length": length})[0] == 413


def test_the_rest_of_a_request_that_is_too_large_is_not_taken_for_another(demo: DemoServer) -> None:
    head = f"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: {LARGEST_REQUEST + 1}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", demo.server_port), timeout=10) as caller:
        caller.sendall(head.encode())
        answer = b"".join(iter(lambda: caller.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_wrong_base_url_is_told(demo: DemoServer) -> None:
    with pytest.raises(Permanent, match="the base URL ends with /v1"):
        OpenAICompatibleLLM(demo.url.removesuffix("/v1"), MODEL).complete(PLANNING)


def test_the_server_lists_its_model_and_its_health(demo: DemoServer) -> None:
    def read(url: str) -> Any:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)

    assert read(f"{demo.url}/models")["data"][0]["id"] == MODEL
    assert read(demo.url.replace("/v1", "/healthz")) == {"ok": True}


def test_a_key_may_be_demanded() -> None:
    with running(key="sk-demo") as server:
        with pytest.raises(Permanent, match="refuses the key"):
            model(server, api_key="sk-other").complete(PLANNING)
        assert model(server, api_key="sk-demo").complete(PLANNING).model == MODEL
        assert len(server.calls) == 1


# ---- faults on purpose, and the book


@pytest.mark.parametrize(
    ("faults", "kind", "words"),
    [
        (Faults(nth=2), Transient, "HTTP 500.*on purpose"),
        (Faults(nth=2, status=429, headers={"retry-after": "9"}), Transient, "HTTP 429"),
        (Faults(nth=2, status=200, body="<html>", headers={"content-type": "text/html"}), Transient, "text/html"),
        (Faults(nth=2, status=401), Permanent, "LLM_API_KEY"),
        (Faults(nth=2, status=0), Transient, "said nothing"),
    ],
)
def test_every_second_call_is_a_fault(faults: Faults, kind: type[Exception], words: str) -> None:
    with running(faults=faults) as server:
        patient, hasty = model(server), model(server, timeouts=Timeouts(read=0.3))
        patient.complete(PLANNING)
        with pytest.raises(kind, match=words) as caught:
            (hasty if faults.status == 0 else patient).complete(PLANNING)
        until(lambda: len(server.calls) == 2)
        patient.complete(PLANNING)
        assert [entry["faulty"] for entry in server.calls] == [False, True, False]
        assert getattr(caught.value, "retry_after", None) == (9.0 if faults.status == 429 else None)


def test_every_call_may_be_a_fault() -> None:
    with running(faults=Faults(nth=1)) as server:
        for _ in range(2):
            with pytest.raises(Transient, match="on purpose"):
                model(server).complete(PLANNING)


def test_an_answer_may_be_delayed() -> None:
    with running(faults=Faults(delay=60)) as server, pytest.raises(Transient, match="said nothing"):
        model(server, timeouts=Timeouts(read=0.2)).complete(PLANNING)


def test_the_book_counts_each_call_once_also_in_a_file(tmp_path: Path) -> None:
    log = tmp_path / "book.jsonl"
    with running(log=log, faults=Faults(nth=3)) as server:
        threads = [threading.Thread(target=lambda: post(server, json.dumps(BODY).encode())) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        post(server, json.dumps({"messages": BODY["messages"][:1]}).encode())
        assert [entry["n"] for entry in server.calls] == list(range(1, 14))
        assert sum(entry["faulty"] for entry in server.calls) == 4
        assert {entry["role"] for entry in server.calls} == {"planner"}
        assert [len({e["prompt"] for e in part}) for part in (server.calls[:12], server.calls)] == [1, 2]
        assert [json.loads(line) for line in log.read_text().splitlines()] == server.calls


BODY = {"messages": [{"role": m.role, "content": m.content} for m in PLANNING.messages]}


def test_callers_that_hang_up_are_no_news(demo: DemoServer, capfd: pytest.CaptureFixture[str]) -> None:
    others = set(threading.enumerate())
    demo.faults = Faults(delay=60)
    with socket.create_connection(("127.0.0.1", demo.server_port)) as caller:
        body = json.dumps(BODY).encode()
        caller.sendall(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        until(lambda: demo.calls)
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    demo.server_close()
    for handler in set(threading.enumerate()) - others:
        handler.join(10)
        assert not handler.is_alive()
    assert capfd.readouterr().err == ""

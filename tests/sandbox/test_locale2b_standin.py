"""The stand-in for the service has the traps that it is there for."""

from __future__ import annotations

import base64
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.locale2b_server import Locale2bServer


@pytest.fixture
def service() -> Iterator[Locale2bServer]:
    server = Locale2bServer()
    yield server
    server.stop()


def ask(server: Locale2bServer, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server.url + path, data, {"content-type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def made(server: Locale2bServer) -> str:
    return str(ask(server, "POST", "/sandboxes", {})[1]["sandbox_id"])


def test_a_command_blocks_the_whole_service_and_leaves_its_children(service: Locale2bServer) -> None:
    vm = made(service)
    command = {"command": "(sleep 30 >/dev/null 2>&1 &); sleep 1; echo x", "timeout_seconds": 5}
    thread = threading.Thread(target=ask, args=[service, "POST", f"/sandboxes/{vm}/exec", command])
    thread.start()
    time.sleep(0.2)
    begun = time.monotonic()
    assert ask(service, "GET", "/health")[0] == 200
    assert time.monotonic() - begun > 0.5
    thread.join()
    assert (
        "sleep 30"
        in ask(service, "POST", f"/sandboxes/{vm}/exec", {"command": "cat /proc/*/cmdline | tr '\\0' ' '"})[1]["stdout"]
    )


def test_what_goes_wrong_in_a_command_is_200_without_output(service: Locale2bServer) -> None:
    vm = made(service)
    for body, said in (
        ({"command": "echo lost; sleep 9", "timeout_seconds": 1}, "timed out after 1 seconds"),
        ({"command": r"printf '\377'"}, "utf-8"),
        ({"command": "true " + "x" * 140_000}, "too long"),
    ):
        status, answer = ask(service, "POST", f"/sandboxes/{vm}/exec", body)
        assert (status, answer["success"], answer["exit_code"], answer["stdout"]) == (200, False, -1, "")
        assert said in answer["error"]
    assert ask(service, "POST", f"/sandboxes/{vm}/exec", {})[0] == 422


def test_each_request_is_counted_twice() -> None:
    service = Locale2bServer(rate=100)
    try:
        statuses = [ask(service, "GET", "/health")[0] for _ in range(51)]
    finally:
        service.stop()
    assert statuses == [200] * 50 + [429]


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        ("/workspace/a", True),
        ("/workspace2/a", True),
        ("/workspace/dev", True),
        ("/workspace/src/dev/x.py", False),
        ("/workspace/a..b", False),
        ("/workspace/home/me/x", False),
        ("/etc/x", False),
    ],
)
def test_paths_are_refused_by_its_rules(service: Locale2bServer, path: str, taken: bool) -> None:
    vm = made(service)
    written = ask(
        service, "POST", f"/sandboxes/{vm}/files/write", {"path": path, "content": base64.b64encode(b"x").decode()}
    )
    assert (written[0] == 200) is taken
    if taken:
        content = ask(service, "GET", f"/sandboxes/{vm}/files/read?path={quote(path)}")[1]["content"]
        assert base64.b64decode(content) == base64.b64encode(b"x"), "without is_base64 the text itself is written"


def test_a_missing_file_is_200_and_a_broken_link_is_not_listed(service: Locale2bServer) -> None:
    vm = made(service)
    assert ask(service, "GET", f"/sandboxes/{vm}/files/read?path=/tmp/no")[1]["error"] == "File not found: /tmp/no"
    ask(service, "POST", f"/sandboxes/{vm}/exec", {"command": "ln -s nowhere broken; echo hi > f; ln -s f link"})
    entries = ask(service, "GET", f"/sandboxes/{vm}/files/list?path=/workspace")[1]["entries"]
    assert {entry["name"]: entry["size"] for entry in entries} == {"f": 3, "link": 3}


def test_a_dead_vm_is_500_for_ever_and_a_restart_stops_all(service: Locale2bServer) -> None:
    vm = made(service)
    service.kill_vm(vm)
    for _ in range(2):
        status, answer = ask(service, "POST", f"/sandboxes/{vm}/exec", {"command": "true"})
        assert (status, answer["detail"].startswith("Broken pipe")) == (500, True)
    assert ask(service, "GET", f"/sandboxes/{vm}")[1]["status"] == "running"
    service.restart()
    assert ask(service, "GET", "/sandboxes")[1][0]["status"] == "stopped"
    assert ask(service, "DELETE", f"/sandboxes/{vm}")[0] == 200
    assert ask(service, "DELETE", f"/sandboxes/{vm}")[0] == 404

"""`manage.py up`: the whole system on one machine, in order up and in order down, and nothing of it left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import threading
import urllib.error
import urllib.request
from http.cookiejar import CookieJar
from urllib.parse import urlencode

import pytest

from agents.llm.demo_server import serve
from bench.measure import pss_mb
from orchestration.supervisor import STOP_WITHIN
from tests.operations.conftest import Up
from tests.support.installation import until
from tests.support.models import Gated

pytestmark = [pytest.mark.services, pytest.mark.long, pytest.mark.timeout(300)]


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return str(answer.read().decode())


def test_everything_runs_and_a_person_gets_in_by_the_printed_link(up: Up) -> None:
    up.start()
    first = {name: up.text.index(f"{name} │") for name in ("redis", "worker", " beat", "  web")}
    assert min(first, key=lambda name: first[name]) == "redis"

    env = up.folder / "env"
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    assert len(re.search(r"^SECRET_KEY=(\S+)", env.read_text(), re.M)[1]) > 50  # type: ignore[index]

    ready = json.loads(get(f"{up.said('Address')}/readyz"))
    assert {name: ready[name]["status"] for name in ("database", "redis", "worker", "beat")} == dict.fromkeys(
        ("database", "redis", "worker", "beat"), "ok"
    )
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    link = up.said("Log in")
    token = link.rstrip("/").rsplit("/", 1)[1]
    page = browser.open(link, timeout=20).read().decode()
    form = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert form
    wrong = urllib.request.Request(link, urlencode({"csrfmiddlewaretoken": "x" * 64}).encode())
    with pytest.raises(urllib.error.HTTPError, match="403"):
        browser.open(wrong, timeout=20)
    inside = browser.open(link, urlencode({"csrfmiddlewaretoken": form[1]}).encode(), timeout=20)
    assert inside.url.endswith("/login/password/")
    assert "Overview" in browser.open(up.said("Address"), timeout=20).read().decode()
    logs = "".join(path.read_text() for path in (up.folder / "data" / "logs").iterdir())
    assert "/login/link/" in logs, "the refused request was logged"
    assert token not in logs
    assert token not in up.text.replace(link, ""), "and the terminal shows it only in the box"

    again = up.manage("up", code=1)
    assert f"it runs already on {up.folder / 'data'}, at {up.said('Address')}" in again.stderr
    assert up.said("Address") in up.manage("login_link").stdout, "another terminal knows the address"
    found = json.loads(up.manage("doctor", "--json", code=None).stdout)
    assert not [finding for finding in found if finding["name"].startswith("queue ")], "each queue is served"

    assert up.end(signal.SIGINT) == 130
    assert up.orphans() == set()
    assert not (up.folder / "data" / "web.url").exists()
    assert not (up.folder / "data" / "redis.url").exists()


def test_stopped_in_the_middle_of_a_model_call_it_ends_all_the_same_and_loses_nothing(up: Up) -> None:
    gate = Gated("planner")
    server = serve(answerer=gate)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        up.start(LLM_BASE_URL=server.url, LLM_MODEL="scripted-demo")
        up.manage("goal", "submit", "Write a note")
        assert gate.reached.wait(60), up.text
        assert up.end(signal.SIGINT) == 130
    finally:
        gate.open()
        server.shutdown()
        server.server_close()
    assert up.orphans() == set()
    told = json.loads(up.manage("goal", "show", "last", "--json").stdout)
    [run] = told["rollouts"][0]["runs"]
    assert (run["status"], run["losses"], run["attempt"]) == ("queued", 0, 1), "it was given back"


def test_killed_hard_it_leaves_no_child_behind_and_starts_again_with_the_same_keys(up: Up) -> None:
    up.start()
    keys = (up.folder / "env").read_text()
    children = up.children()
    assert len(children) == 4, children
    assert up.end(signal.SIGKILL) == -9
    assert until(lambda: not up.orphans(), 60), up.orphans()
    up.start()
    assert (up.folder / "env").read_text() == keys
    assert up.end(signal.SIGTERM) == 0, "a stop that was asked for is no failure"
    assert up.orphans() == set()


def test_its_processes_share_what_they_import(up: Up) -> None:
    up.start()
    assert up.process is not None
    assert pss_mb([up.process.pid, *up.children()]) < 250, "they were 392 MB, each with imports of its own"
    assert up.end(signal.SIGTERM) == 0


def test_a_child_that_dies_is_named_with_its_last_lines_and_all_are_stopped(up: Up) -> None:
    up.start()
    os.kill(up.child("beat"), signal.SIGKILL)
    assert up.process is not None
    assert up.process.wait(60) == 1
    assert "beat was ended by SIGKILL; its log is" in up.text
    assert "beat: Starting..." in up.text.rpartition("which ends with:")[2]
    assert up.orphans() == set()


def test_a_taken_port_gives_the_next_one_and_that_is_said(up: Up) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        up.start(PORT=str(port))
        assert f"{port} is taken, so it is " in up.said("Port")
        assert get(f"{up.said('Address')}/healthz") == "ok\n"
        up.end(signal.SIGINT)


def test_a_part_that_cannot_start_is_named_and_nothing_stays(up: Up) -> None:
    done = up.manage("up", code=1, env={"DATABASE_URL": "postgres://nobody@127.0.0.1:1/none"})
    assert "the database cannot be used" in done.stderr
    assert "DATABASE_URL" in done.stderr
    assert not (up.folder / "data" / "redis.url").exists()


def test_flower_that_is_asked_for_lists_the_workers(up: Up) -> None:
    up.start("--flower")
    address = up.said("Flower").split()[0]
    assert address.startswith("http://127.0.0.1:")
    assert until(lambda: "celery@" in get(f"{address}/api/workers?refresh=1"), 60)
    assert up.end(signal.SIGINT) == 130
    assert up.orphans() == set()


def test_the_time_that_a_stop_may_take_is_less_than_ten_seconds() -> None:
    assert sum(STOP_WITHIN.values()) < 10

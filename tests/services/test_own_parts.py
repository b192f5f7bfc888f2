"""What a worker says of itself, and how our own Redis starts and ends."""

from __future__ import annotations

import _thread
import os
import threading
from pathlib import Path

import pytest
import redis

from orchestration import doctor
from orchestration.models import Worker
from orchestration.redis_server import RedisServer
from tests.support.installation import Installation


@pytest.mark.services
def test_ctrl_c_in_the_terminal_does_not_reach_our_redis(open_folder: Path) -> None:
    with RedisServer(open_folder / "redis") as server:
        assert redis.Redis(port=server.port or 0).ping()
        assert server.pid is not None
        assert os.getpgid(server.pid) != os.getpgrp(), "a worker that drains still needs it"


def test_an_interrupted_start_leaves_no_server_behind(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, started = open_folder / "redis-server", open_folder / "pid"
    slow.write_text(f"#!/bin/sh\necho $$ > {started}\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(open_folder), prepend=os.pathsep)
    # a second one, as a person would: what strikes in a finalizer is swallowed by Python
    interrupts = [threading.Timer(seconds, _thread.interrupt_main) for seconds in (0.5, 3)]
    for interrupt in interrupts:
        interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        RedisServer(open_folder / "redis").start()
    for interrupt in interrupts:
        interrupt.cancel()
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


def test_a_worker_says_which_sandbox_and_model_it_uses(installation: Installation) -> None:
    installation.worker(SANDBOX="landlock")
    assert Worker.objects.values_list("sandbox", "model").get() == ("landlock", "scripted-demo")
    assert [f.detail for f in doctor._workers() if f.name == "workers"] == ["1 with 8 threads, sandbox landlock"]


def test_a_worker_without_a_sandbox_starts_and_says_so(installation: Installation) -> None:
    taken = installation.folder / "workspaces"
    taken.write_text("a file where a folder should be")
    worker = installation.worker(SANDBOX="bubblewrap")
    assert Worker.objects.get().sandbox == "none"
    assert str(taken) in worker.text

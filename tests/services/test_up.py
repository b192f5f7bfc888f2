"""`manage.py up`: one machine's installation, what it says of itself, and how it ends."""

from __future__ import annotations

import os
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


def test_a_worker_says_which_sandbox_and_model_it_uses(installation: Installation) -> None:
    installation.worker(SANDBOX="landlock")
    assert Worker.objects.values_list("sandbox", "model").get() == ("landlock", "scripted-demo")
    assert [f.detail for f in doctor._workers() if f.name == "workers"] == ["1 with 8 threads, sandbox landlock"]


def test_a_worker_without_a_sandbox_starts_and_says_so(installation: Installation) -> None:
    worker = installation.worker(SANDBOX="chroot")
    assert Worker.objects.get().sandbox == "none"
    assert "SANDBOX=chroot is not known; there are auto, bubblewrap, landlock" in worker.text

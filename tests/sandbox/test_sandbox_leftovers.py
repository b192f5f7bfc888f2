"""Nothing that a command started outlives it, however it tries: reference local-sandbox §4 and §11."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from seeing import owners, running, until

from agents.errors import Transient
from agents.ports import Command, Sandbox, SandboxProvider, SandboxSpec
from agents.sandbox.leftovers import end_all_of
from agents.sandbox.limits import drop_root
from agents.sandbox.registry import choose, sweep
from agents.sandbox.slots import Uids

REPOSITORY = Path(__file__).resolve().parents[2]
HIDER = """python3 -c '
import os, ctypes, time, sys, signal
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for s in (1, 2, 15): signal.signal(s, signal.SIG_IGN)
        for fd in (0, 1, 2): os.close(fd)
        ctypes.CDLL(None).prctl(4, 0)
        time.sleep(600)
    os._exit(0)
os.wait()
' MARK"""
DISOWNED = [
    "sleep MARK & disown",
    "setsid sleep MARK >/dev/null 2>&1 </dev/null &",
    "nohup sleep MARK >/dev/null 2>&1 &",
    "(setsid sh -c 'sleep MARK & sleep MARK' >/dev/null 2>&1 &)",
    "(trap '' TERM HUP INT; exec setsid sleep MARK >/dev/null 2>&1) &",
    HIDER,
]


def kill_when_seen(launcher: str, mark: str) -> None:
    """Kill the process that runs the launcher, once its command has started all that it wants to."""
    assert until(lambda: len(running(f"sleep\0{mark}")) == 2)
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and launcher.encode() in (process / "cmdline").read_bytes():
                os.kill(int(process.name), signal.SIGKILL)


class TestLeftovers:
    @pytest.mark.parametrize("how", ["exit 0", "sleep 600"], ids=["ends by itself", "is ended"])
    @pytest.mark.parametrize(
        "script", DISOWNED, ids=["disown", "setsid", "nohup", "double fork", "ignores TERM", "hides"]
    )
    def test_nothing_outlives_its_command(self, sandbox: Sandbox, mark: str, script: str, how: str) -> None:
        sandbox.run(Command(f"{script.replace('MARK', mark)}\n{how}", timeout=0.7))
        assert running(mark) == []

    def test_nothing_outlives_a_closed_sandbox(self, sandbox: Sandbox, mark: str) -> None:
        script = "\n".join(script.replace("MARK", mark) for script in DISOWNED[:5]) + "\nsleep 600"

        def work() -> None:
            with contextlib.suppress(Exception):
                sandbox.run(Command(script))

        thread = threading.Thread(target=work)
        thread.start()
        assert until(lambda: len(running(mark)) > 4)
        sandbox.close()
        thread.join(5)
        assert running(mark) == []

    @pytest.mark.skipif(os.getuid() != 0, reason="the user id of its own, that makes sure, is only there for root")
    def test_nothing_outlives_a_supervisor_that_was_killed(self, root: Path, mark: str) -> None:
        box = choose("landlock", root=root).open(SandboxSpec(label="test"))
        launcher = str(box.folder / "launcher.py")  # type: ignore[attr-defined]
        supervisor = threading.Thread(target=kill_when_seen, args=[launcher, mark])
        supervisor.start()
        hider = HIDER.replace("MARK", mark)
        with contextlib.suppress(Transient):
            box.run(Command(f"{hider}\nsetsid sleep {mark} >/dev/null 2>&1 & sleep {mark}", timeout=3))
        supervisor.join()
        assert running(mark) == []
        box.close()

    @pytest.mark.skipif(os.getuid() != 0, reason="only root gives each sandbox a user of its own")
    def test_a_process_that_hides_its_owner_is_found_by_its_user(self, mark: str) -> None:
        uid, lock = Uids().take()
        subprocess.run([*drop_root(uid), "/bin/bash", "-c", HIDER.replace("MARK", mark)], check=True)
        assert until(lambda: owners(mark) == {0}), "it gave up its dumpable flag, and /proc shows root as its owner"
        end_all_of(uid)
        os.close(lock)
        assert running(mark) == []

    def test_a_killed_worker_leaves_nothing_that_runs_and_its_folder_is_swept(
        self, provider: SandboxProvider, public_folder: Path, mark: str
    ) -> None:
        public_folder.chmod(0o711)
        code = f"""
import sys
from pathlib import Path
from agents.ports import Command, SandboxSpec
from agents.sandbox.registry import choose
box = choose({provider.name!r}, root=Path({str(public_folder)!r})).open(SandboxSpec(label="test"))
box.run(Command("touch begun; setsid sleep {mark} & sleep {mark}"))
"""
        with subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY) as worker:
            assert until(lambda: any(public_folder.glob("box-*/workspace/begun")), 20)
            assert sweep(public_folder) == 0, "a living worker's sandbox is not swept"
            worker.kill()
        assert until(lambda: running(mark) == [], 2)
        assert sweep(public_folder) == 1
        assert list(public_folder.glob("box-*")) == []

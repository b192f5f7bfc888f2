"""`manage.py up` as a person runs it: a process of its own, on a folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.llm.demo_model import answer
from agents.llm.demo_server import serve
from tests.support.installation import BASE, until

NOT_OURS = (
    "DJANGO_SETTINGS_MODULE",
    "DATABASE_URL",
    "REDIS_URL",
    "CELERY_BROKER_URL",
    "SECRET_KEY",
    "BASE_URL",
    "DEBUG",
)


class Up:
    """`start()` waits for the box. It is stopped with its test, and so are its children if it left any."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "terminal"
        self.env = {name: value for name, value in os.environ.items() if name not in NOT_OURS} | {
            "DATA_DIR": str(folder / "data"),
            "ENV_FILE": str(folder / "env"),
            "PORT": "0",
            "WORKER_THREADS": "4",
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.seen: set[int] = set()

    def start(self, *words: str, **env: str) -> Up:
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up", *words],
                env=self.env | env,
                cwd=BASE,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        assert until(lambda: "╰─" in self.text or self.process.poll() is not None, 100)
        assert self.process.poll() is None, self.text
        self.seen |= set(self.children())
        return self

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def said(self, name: str) -> str:
        """A line of the box."""
        line = next(line for line in self.text.splitlines() if line.startswith(f"│  {name}"))
        return line.removeprefix(f"│  {name}").strip()

    def manage(
        self, *words: str, code: int | None = 0, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "manage.py", *words]
        done = subprocess.run(
            argv,
            env=self.env | (env or {}),
            cwd=BASE,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert code in (None, done.returncode), f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.text}"
        return done

    def children(self) -> dict[int, str]:
        """pid → name and command line of each child that lives."""
        assert self.process is not None
        said = subprocess.run(
            ["ps", "-o", "pid=,comm=,args=", "--ppid", str(self.process.pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        return {int(pid): args for pid, _, args in (line.strip().partition(" ") for line in said.stdout.splitlines())}

    def child(self, word: str) -> int:
        return next(pid for pid, args in self.children().items() if word in args)

    def orphans(self) -> set[int]:
        return {pid for pid in self.seen if alive(pid)}

    def end(self, how: signal.Signals, seconds: float = 60) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(seconds)


def alive(pid: int) -> bool:
    """A zombie that nobody has collected does not live."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def stopped(up: Up) -> None:
    if up.process is not None and up.process.poll() is None:
        up.end(signal.SIGTERM)
    for pid in up.orphans():
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def up(open_folder: Path) -> Iterator[Up]:
    made = Up(open_folder)
    yield made
    stopped(made)


@pytest.fixture
def installation_model() -> Iterator[str]:
    """The scripted model of the example, over HTTP."""
    server = serve(answerer=answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server.url
    server.shutdown()
    server.server_close()

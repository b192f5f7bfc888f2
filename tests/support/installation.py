"""An installation of real parts for a test: the test's database, a Redis, a model server, worker processes, the commands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from django.db import connections

from agents.llm.demo_model import answer
from agents.llm.demo_server import DemoServer, Faults, serve
from orchestration.models import Goal
from orchestration.redis_server import RedisServer
from orchestration.states import TERMINAL_GOAL

BASE = Path(__file__).resolve().parents[2]
EXAMPLE_GOAL = (BASE / "examples" / "demo_goal.txt").read_text()
EXAMPLE_CHECK = "python3 -m unittest discover -s tests -t ."


class WorkerProcess:
    """`celery -A compymac_site worker` in a session of its own."""

    def __init__(self, env: dict[str, str], log: Path, words: Sequence[str] = (), module: str = "celery") -> None:
        self.log = log
        argv = [sys.executable, "-m", module, "-A", "compymac_site", "worker", "--loglevel=info", *words]
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                argv, env=env, cwd=BASE, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )

    def ready(self) -> WorkerProcess:
        until(lambda: "housekeeper and heartbeat run" in self.text and (" ready." in self.text or self.without_broker))
        return self

    @property
    def text(self) -> str:
        assert self.process.poll() is None, f"the worker has ended:\n{self.log.read_text()[-3000:]}"
        return self.log.read_text(errors="replace")

    @property
    def without_broker(self) -> bool:
        return "Cannot connect to redis" in self.log.read_text(errors="replace")

    def kill(self) -> None:
        """kill -9, as the kernel's out-of-memory killer does it."""
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float = 40) -> int:
        """SIGTERM and a warm shutdown; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


class Installation:
    """Make it by the fixture `installation`; everything that it started is stopped with it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self._stack = folder, stack
        self.redis = RedisServer(folder / "redis")
        self.model = self.serve_model()
        self.workers: list[WorkerProcess] = []
        self.env = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "compymac_site.settings",
            "DATABASE_URL": database_url(),
            "DATA_DIR": str(folder / "data"),
            "WORKSPACES_DIR": str(folder / "workspaces"),
            "LLM_BASE_URL": self.model.url,
            "LLM_MODEL": "scripted-demo",
            "LEASE_SECONDS": "3",
            "HOUSEKEEPER_SECONDS": "0.5",
            "WORKER_THREADS": "8",
            "PYTHONUNBUFFERED": "1",
        }

    def serve_model(
        self, answerer: Callable[[Any], dict[str, Any]] = answer, faults: Faults | None = None
    ) -> DemoServer:
        server = serve(answerer=answerer, faults=faults)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self._stack.callback(server.server_close)
        self._stack.callback(server.shutdown)
        return server

    def start_redis(self) -> None:
        self.redis.start()
        self._stack.callback(self.redis.stop)
        self.env |= {"REDIS_URL": self.redis.url, "CELERY_BROKER_URL": self.redis.url}

    def worker(self, *words: str, module: str = "celery", **env: str) -> WorkerProcess:
        """`module`: what is run in the place of celery."""
        log = self.folder / f"worker-{len(self.workers)}.log"
        worker = WorkerProcess(self.env | env, log, words, module)
        self.workers.append(worker)
        self._stack.callback(lambda: worker.process.poll() is not None or worker.kill())
        return worker.ready()

    def manage(
        self, *words: str, stdin: str | None = None, code: int | None = 0, **env: str
    ) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "manage.py", *words]
        done = subprocess.run(
            argv, env=self.env | env, cwd=BASE, capture_output=True, text=True, input=stdin, timeout=110, check=False
        )
        assert code is None or done.returncode == code, (
            f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}{self.logs()}"
        )
        return done

    def example(self, name: str = "shop") -> Path:
        """The example as a person's git repository."""
        repo = self.folder / name
        subprocess.run(["cp", "-r", str(BASE / "examples" / "demo_repo"), str(repo)], check=True)
        author = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
        for words in (("init", "-q", "-b", "main"), ("add", "-A"), (*author, "commit", "-q", "-m", "two bugs")):
            subprocess.run(["git", *words], cwd=repo, check=True)
        return repo

    def ended(self, goal: Goal, seconds: float = 60) -> Goal:
        """The goal once it has ended; with the story so far where it does not."""

        def has_ended() -> bool:
            goal.refresh_from_db()
            return goal.status in TERMINAL_GOAL

        assert until(has_ended, seconds), f"the goal is {goal.status}\n{story(goal)}{self.logs()}"
        return goal

    def logs(self) -> str:
        return "".join(f"\n--- {w.log.name}\n{w.log.read_text(errors='replace')[-3000:]}" for w in self.workers)


def story(goal: Goal) -> str:
    """A goal's events as lines, for the message of a failed assertion."""
    return "\n".join(f"{e.seq} {e.kind} {e.subject} {e.old}→{e.new} {e.by} {e.reason[:200]}" for e in goal.events.all())


def until(fact: Callable[[], bool], seconds: float = 30.0) -> bool:
    ends = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > ends:
            return False
        time.sleep(0.05)
    return True


def database_url() -> str:
    """The address of the database that this test uses."""
    settings = connections["default"].settings_dict
    if settings["ENGINE"].endswith("sqlite3"):
        return f"sqlite:///{settings['NAME']}"
    return f"postgres://{settings['USER']}@{settings['HOST']}:{settings['PORT']}/{settings['NAME']}"

"""The engine in the test's own process: a worker without Celery and Redis, a real sandbox, a scripted model over HTTP."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from django.db import connection
from django.db.models.functions import Now

from agents.llm.demo_server import DemoServer, Faults, serve
from agents.llm.registry import from_environment
from agents.ports import SandboxProvider
from agents.sandbox.registry import choose
from orchestration import services
from orchestration.models import Goal, Run
from orchestration.runs.bench import Tools
from orchestration.runtime import Worker
from orchestration.states import TERMINAL_GOAL, GoalStatus, Queue, RunStatus
from tests.support.installation import BASE, story


class Engine:
    """Submit by `goal(...)`, then `work(goal)` until it has ended or waits for a person."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self._stack = folder, stack
        self.worker = Worker(Queue.values, 4)
        self.use(choose("auto", root=folder / "boxes"))
        self.model: DemoServer | None = None
        self.key = ""
        self.llm_env: dict[str, str] = {}

    def use(self, provider: SandboxProvider) -> None:
        """The sandboxes of all further runs."""
        self.worker._tools = Tools(self.worker.name, provider, self._llm, folder=self.folder / "data")

    def serve(
        self, answerer: Callable[[Any], dict[str, Any]], faults: Faults | None = None, key: str = ""
    ) -> DemoServer:
        """The model of all further runs."""
        server = serve(answerer=answerer, faults=faults, key=key)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self._stack.callback(server.server_close)
        self._stack.callback(server.shutdown)
        self.model = server
        return server

    def goal(self, text: str = "one\ntwo", **more: Any) -> Goal:
        return services.submit_goal(text, allow_repo=True, **more)

    def work(self, goal: Goal, seconds: float = 40, until: Callable[[], bool] = lambda: False) -> Goal:
        """Claim what is due again and again, to the goal's end or `until` something; delays of retries are not waited for."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            goal.refresh_from_db()
            if until() or goal.status in TERMINAL_GOAL or (goal.status == GoalStatus.PAUSED and not self.busy(goal)):
                return goal
            Run.objects.filter(goal=goal, status=RunStatus.QUEUED).update(not_before=Now())
            self.worker.claim_idle()
            time.sleep(0.03)
        raise AssertionError(f"the goal is {goal.status}\n{story(goal)}")

    def busy(self, goal: Goal) -> bool:
        return Run.objects.filter(goal=goal, status=RunStatus.RUNNING).exists()

    def repository(self, files: dict[str, str], name: str = "repo") -> Path:
        """A person's repository with one commit."""
        repo = self.folder / name
        for path, text in files.items():
            (repo / path).parent.mkdir(parents=True, exist_ok=True)
            (repo / path).write_text(text)
        author = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
        for words in (("init", "-q", "-b", "main"), ("add", "-A"), (*author, "commit", "-q", "-m", "first")):
            subprocess.run(["git", *words], cwd=repo, check=True)
        return repo

    def example(self) -> Path:
        root = BASE / "examples" / "demo_repo"
        return self.repository(
            {str(p.relative_to(root)): p.read_text() for p in root.rglob("*") if p.suffix in (".py", ".md")}
        )

    def close(self) -> None:
        self.worker._own.shutdown(wait=True)
        connection.close()

    def _llm(self) -> Any:
        assert self.model is not None, "the test serves a model first"
        env = {"LLM_BASE_URL": self.model.url, "LLM_MODEL": "test-model", "LLM_API_KEY": self.key}
        return from_environment(env | self.llm_env)

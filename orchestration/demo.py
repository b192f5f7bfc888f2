"""The demo: an installation of its own in `.demo/`, one goal on the example repository, everything stopped at the end.

It starts Redis, the scripted model (unless LLM_BASE_URL names another) and a worker as children on free ports, and stops only them.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from .children import WORKER, NotStarted, child
from .redis_server import RedisServer

CHECK = "python3 -m unittest discover -s tests -t ."
TOLD = (0, 3, 4, 124)  # how `goal submit --watch` may end with its story told
Say = Callable[[str], object]


class Demo:
    """`run()` returns the exit code of the goal's own command."""

    def __init__(self, base: Path, say: Say) -> None:
        self.base = base
        self.folder = base / ".demo"
        self.say = say
        self.env = {
            **os.environ,
            "DATA_DIR": str(self.folder / "data"),
            "DATABASE_URL": f"sqlite:///{self.folder / 'data' / 'demo.sqlite3'}",
            "DRAIN_SECONDS": "2",
            "PYTHONUNBUFFERED": "1",
            "WORKSPACES_DIR": str(self.folder / "workspaces"),
            # a secret's file would win over its variable, and lead to another installation
            **{f"{name}_FILE": "" for name in ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL")},
        }
        for name in ("DJANGO_SETTINGS_MODULE", "CELERY_BROKER_URL", "REPO_ROOTS", "SANDBOX_PARALLEL"):
            self.env.pop(name, None)

    def run(self) -> int:
        with ExitStack() as stack:
            stack.enter_context(self._alone())
            repo = self._example()
            self.say("▸ Redis, database, model and worker of the demo's own start …")
            redis = stack.enter_context(RedisServer(self.folder / "redis"))
            self.env |= {"REDIS_URL": redis.url, "CELERY_BROKER_URL": redis.url}
            self._manage("migrate", "--verbosity", "0")
            stack.enter_context(self._model())
            stack.enter_context(self._child("worker", WORKER, self._worker_is_ready))
            self.say(f"▸ Sandbox: {self._sandbox()}")
            text = (self.base / "examples" / "demo_goal.txt").read_text()
            self.say(f"▸ Repository {repo}, goal: {' '.join(text.split())[:100]} …")
            code = self._goal("submit", text, "--repo", str(repo), "--check", CHECK, "--watch", "--timeout", "600")
            self._leave_patch(repo)
            self.say("▸ Everything that the demo started is being stopped.")
        return code

    # ---- its parts

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One demo at a time in this folder."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / "data").mkdir(exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise NotStarted(
                    f"a demo runs already in {self.folder}; wait for it, or stop it with Ctrl-C there"
                ) from None
            yield

    def _example(self) -> Path:
        """A fresh git repository with the example's files and its two bugs."""
        repo = self.folder / f"repo-{1 + max(self._numbers(), default=0)}"
        shutil.copytree(self.base / "examples" / "demo_repo", repo, ignore=shutil.ignore_patterns("__pycache__"))
        author = ("-c", "user.name=Demo", "-c", "user.email=demo@localhost", "-c", "commit.gpgsign=false")
        for words in (
            ("init", "-q", "-b", "main", "."),
            ("add", "-A"),
            (*author, "commit", "-q", "-m", "The example, with two bugs"),
        ):
            subprocess.run(["git", *words], cwd=repo, check=True, stdin=subprocess.DEVNULL)
        return repo

    def _numbers(self) -> Iterator[int]:
        """Of the repositories and patches that earlier demos left."""
        for path in self.folder.glob("repo-*"):
            if (number := path.stem.removeprefix("repo-")).isdecimal():
                yield int(number)

    @contextmanager
    def _model(self) -> Iterator[None]:
        if self.env.get("LLM_BASE_URL"):
            self.say(f"▸ Model: {self.env.get('LLM_MODEL') or '(LLM_MODEL is not set)'} at {self.env['LLM_BASE_URL']}")
            yield
            return
        address = self.folder / "model.url"
        address.unlink(missing_ok=True)
        argv = [sys.executable, str(self.base / "manage.py"), "demo_llm", "--port", "0", "--address-file", str(address)]
        argv += ["--log", str(self.folder / "model.jsonl")]
        with self._child("model", argv, lambda: address.exists() and bool(address.read_text())):
            self.env |= {
                "LLM_BASE_URL": address.read_text(),
                "LLM_MODEL": "scripted-demo",
                "LLM_API_KEY": "",
                "VENICE_API_KEY": "",
            }
            self.say("▸ Model: scripted-demo, a script for this example and no language model")
            self.say("  (use yours: make demo LLM_BASE_URL=… LLM_MODEL=… LLM_API_KEY=…)")
            yield

    def _worker_is_ready(self) -> bool:
        log = self.folder / "worker.log"
        return log.exists() and " ready." in log.read_text(errors="replace")

    def _sandbox(self) -> str:
        """As the worker's log names it."""
        found = re.search(r": sandbox (\w+),", (self.folder / "worker.log").read_text(errors="replace"))
        return found[1] if found else "unknown"

    def _child(self, name: str, argv: Sequence[str], ready: Callable[[], bool]) -> AbstractContextManager[object]:
        return child(name, argv, ready, env=self.env, folder=self.base, log=self.folder / f"{name}.log")

    def _manage(self, *words: str) -> None:
        done = subprocess.run(
            self._argv(words), env=self.env, cwd=self.base, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise NotStarted(f"manage.py {words[0]} failed: {done.stderr.strip()[-500:]}")

    def _goal(self, *words: str) -> int:
        """Its story is shown; its talk (how to go on from another terminal) is about installations that stay, and goes to a log."""
        log = self.folder / "goal.log"
        with log.open("w") as talk:
            done = subprocess.run(self._argv(("goal", *words)), env=self.env, cwd=self.base, stderr=talk, check=False)
        if done.returncode not in TOLD:
            raise NotStarted(f"the goal could not be followed; the end of {log}:\n{log.read_text()[-800:].strip()}")
        return done.returncode

    def _leave_patch(self, repo: Path) -> None:
        """The result as a file and as a branch, and how to look at it."""
        argv = self._argv(("goal", "apply", "last", "--print"))
        done = subprocess.run(argv, env=self.env, cwd=self.base, capture_output=True, check=False)
        if done.returncode or not done.stdout:
            self.say(f"▸ There is no result; the logs are in {self.folder} (worker.log, model.log)")
            return
        patch = self.folder / f"{repo.name}.patch"
        patch.write_bytes(done.stdout)
        branches = subprocess.run(
            ["git", "branch", "--list", "compymac/*"], cwd=repo, capture_output=True, text=True, check=False
        )
        for branch in branches.stdout.split():
            self.say(f"▸ Branch {branch} in {repo}: git -C {repo} diff main {branch}")
        self.say(f"▸ Patch: {patch}")

    def _argv(self, words: Sequence[str]) -> list[str]:
        return [sys.executable, str(self.base / "manage.py"), *words]

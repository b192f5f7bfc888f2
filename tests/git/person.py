"""A person at their own repository: real git on the host, with a configuration that is not this machine's."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from agents.ports import Sandbox
from agents.source import Source
from agents.workspace import Workspace

Opened = tuple[Workspace, Sandbox, Source]
IDENTITY = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main")


@dataclass
class Person:
    path: Path

    def git(self, *words: str, stdin: bytes = b"") -> str:
        return self.try_git(*words, stdin=stdin, check=True).stdout.decode("utf-8", "surrogateescape").strip()

    def try_git(self, *words: str, stdin: bytes = b"", check: bool = False) -> subprocess.CompletedProcess[bytes]:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.path.parent),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_DATE": "@1700000000 +0000",
            "GIT_COMMITTER_DATE": "@1700000000 +0000",
        }
        argv = ["git", *IDENTITY, "-C", str(self.path), *words]
        return subprocess.run(argv, input=stdin, env=env, capture_output=True, check=check)

    def begin(self) -> Person:
        self.path.mkdir()
        self.git("init", "-q")
        self.write("README.md", "hello\n")
        self.write("src/a.py", "".join(f"line {n}\n" for n in range(40)))
        self.commit("first")
        self.write("tests/test_a.py", "assert True\n")
        self.commit("second")
        return self

    def write(self, path: str, text: str | bytes) -> None:
        (self.path / path).parent.mkdir(parents=True, exist_ok=True)
        (self.path / path).write_bytes(text if isinstance(text, bytes) else text.encode())

    def commit(self, message: str) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.head

    @property
    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def state(self) -> tuple[str, str, str, bytes, str]:
        """What a delivery must leave as it was: HEAD, branch, changes, index, stash and all."""
        index = (self.path / ".git/index").read_bytes()
        where = (self.path / ".git/HEAD").read_text()
        return self.head, where, self.git("status", "--porcelain"), index, self.git("stash", "list")

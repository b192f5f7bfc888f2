"""docker-compose.yml without Docker: its services as Compose would see them, each of them started as a process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.support.installation import BASE

FILE = BASE / "docker-compose.yml"
# ${NAME}, ${NAME:-default}, ${NAME:?message}
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<how>[-?])(?P<rest>[^}]*))?\}")


def services(given: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The services with anchors merged and variables filled in from `given`. Raises KeyError for one that has to be given."""
    told = yaml.safe_load(FILE.read_text())
    return {name: _filled(service, given) for name, service in told["services"].items()}


def raw() -> dict[str, Any]:
    return dict(yaml.safe_load(FILE.read_text()))


def _filled(value: Any, given: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, given) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, given) for item in value]
    return VARIABLE.sub(lambda found: _one(found, given), value) if isinstance(value, str) else value


def _one(found: re.Match[str], given: Mapping[str, str]) -> str:
    name, how, rest = found["name"], found["how"], found["rest"] or ""
    if value := given.get(name, ""):
        return value
    if how == "?":
        raise KeyError(f"{name} {rest}")
    return rest


class Service:
    """One service as a process: its exact command, its exact environment, other host names, ports and folders."""

    def __init__(self, name: str, told: Mapping[str, Any], here: Mapping[str, str], folder: Path) -> None:
        self.name, self.log, self._here = name, folder / f"{name}.log", here
        self.data = folder / name
        self.data.mkdir()
        self.data.chmod(0o711)
        self.argv = [self._local(word) for word in told["command"]]
        self.check = [self._local(word) for word in told.get("healthcheck", {}).get("test", [])[1:]]
        # nothing of this test's own settings, and the programs of this environment
        clean = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.env = clean | {"PATH": path, "PYTHONUNBUFFERED": "1", "ENV_FILE": str(folder / "none.env")}
        self.env |= {key: self._local(str(value)) for key, value in told["environment"].items()}
        self.process: subprocess.Popen[bytes] | None = None

    def run(self, argv: list[str] | None = None, seconds: float = 110) -> subprocess.CompletedProcess[str]:
        """To its end: `docker compose run`, or a command beside it: `docker compose exec`."""
        return subprocess.run(
            argv or self.argv,
            env=self.env,
            cwd=BASE,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
        )

    def start(self) -> Service:
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(
                self.argv,
                env=self.env,
                cwd=BASE,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        return self

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self) -> int:
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def _local(self, word: str) -> str:
        word = word.replace("/data", str(self.data)) if word == "/data" else word
        for theirs, ours in self._here.items():
            word = word.replace(theirs, ours)
        return word

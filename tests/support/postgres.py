"""A real PostgreSQL of the tests' own: a temporary folder, a free port on 127.0.0.1, stopped by its pid.

`python -m tests.support.postgres -- COMMAND …` runs a command with DATABASE_URL set to it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

APT = "apt-get install postgresql"


class PostgresServer:
    """`start()`, use `.url`, `stop()`; also a context manager. A stopped one can be started again on the same port."""

    def __init__(self, *, durable: bool = False, fsync: bool = False) -> None:
        """`durable`: what is committed survives a crash of the server; with `fsync` (for benchmarks) also one of the machine."""
        self._safety = {"synchronous_commit": "on" if durable or fsync else "off"}
        self._safety |= dict.fromkeys(("fsync", "full_page_writes"), "on" if fsync else "off")
        self.folder = Path(tempfile.mkdtemp(prefix="compymac-pg-", dir="/tmp"))
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        if os.getuid() == 0:  # PostgreSQL refuses to run as root
            self.folder.chmod(0o711)
            self.data = self.folder / "data"
            self.data.mkdir()
            shutil.chown(self.data, "postgres", "postgres")
        self.data = self.folder / "data"
        self._run("initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def url(self) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    def new_database(self, name: str, like: str = "") -> str:
        """The address of a further database: empty, or a copy of another one that nobody uses just now."""
        copied = ["-T", like] if like else []
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", *copied, name)
        return self.url.removesuffix("postgres") + name

    def start(self) -> PostgresServer:
        options = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
        options |= {"max_connections": 120, **self._safety}
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._argv("postgres", "-D", str(self.data), *words),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
            )
        ends = time.monotonic() + 30
        while not self._answers():
            if time.monotonic() > ends or self._process.poll() is not None:
                raise RuntimeError(f"PostgreSQL did not start:\n{(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)
        return self

    def stop(self) -> None:
        """SIGINT: PostgreSQL's fast shutdown."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(timeout=30)
            self._process = None

    def crash(self) -> None:
        """SIGQUIT: all of it ends at once, and the next start recovers from its log."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(timeout=30)
            self._process = None

    def __enter__(self) -> PostgresServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        done = subprocess.run(
            self._argv("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)), check=False, cwd="/"
        )
        return done.returncode == 0

    def _run(self, program: str, *words: str) -> None:
        done = subprocess.run(self._argv(program, *words), capture_output=True, text=True, check=False, cwd="/")
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr[-1000:]}")

    def _argv(self, program: str, *words: str) -> list[str]:
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.getuid() == 0 else []
        return [*user, str(binaries() / program), *words]


def binaries() -> Path:
    """The newest installed server's folder. A missing one fails: no test is skipped for it."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise RuntimeError(f"no PostgreSQL server is installed: {APT}")
    return found[-1].parent


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> int:
    command = sys.argv[sys.argv.index("--") + 1 :]
    with PostgresServer() as server:
        return subprocess.run(command, env={**os.environ, "DATABASE_URL": server.url}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

"""What the chaos suite strikes: machines (a supervisor and its worker), a Redis that keeps nothing, a PostgreSQL."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from orchestration.redis_server import RedisServer
from tests.support.postgres import PostgresServer

BASE = Path(__file__).resolve().parents[2]


class Machine:
    """A supervisor process in a session of its own, and the worker that it keeps going; with folders of its own."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder, self._env = folder, env
        folder.mkdir()
        folder.chmod(0o711)
        self._frozen: dict[int, threading.Timer] = {}
        self._supervisor = self._start(signal.SIGKILL)

    def _start(self, farewell: signal.Signals) -> subprocess.Popen[bytes]:
        """`farewell`: what its worker gets from the kernel when it is killed."""
        argv = [sys.executable, "-m", "tests.faults.node", str(self.folder), farewell.name]
        with (self.folder / "node.log").open("ab") as log:
            return subprocess.Popen(argv, env=self._env, cwd=BASE, stdout=log, stderr=log, start_new_session=True)

    @property
    def worker_pid(self) -> int:
        """0: none is running. Only a child of our own supervisor is ever named."""
        with suppress(OSError, ValueError):
            pid = int((self.folder / "worker.pid").read_text())
            status = Path(f"/proc/{pid}/status").read_text()
            if f"PPid:\t{self._supervisor.pid}\n" in status:
                return pid
        return 0

    def _signal_worker(self, what: signal.Signals) -> int:
        pid = self.worker_pid
        with suppress(ProcessLookupError):
            if pid:
                os.kill(pid, what)
        return pid

    def kill_worker(self) -> bool:
        return bool(self._signal_worker(signal.SIGKILL))

    def drain_worker(self) -> bool:
        return bool(self._signal_worker(signal.SIGTERM))

    def kill_supervisor(self, farewell: signal.Signals) -> bool:
        """kill -9; a new one is started at once, whose worker will get `farewell` at its end."""
        self._supervisor.kill()
        self._supervisor.wait()
        self._supervisor = self._start(farewell)
        return True

    def freeze(self, seconds: float) -> bool:
        """SIGSTOP for a while: the process lives, and does nothing. It wakes up, whatever has become of its supervisor meanwhile."""
        pid = self._signal_worker(signal.SIGSTOP)
        if pid:
            self._frozen[pid] = threading.Timer(seconds, self._thaw, (pid, _started(pid)))
            self._frozen[pid].start()
        return bool(pid)

    def _thaw(self, pid: int, started: str) -> None:
        if started and _started(pid) == started:  # else the number is somebody else's by now
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def stop(self, within: float = 40.0) -> int:
        """SIGTERM; its exit code. What does not end is killed."""
        for timer in self._frozen.values():
            timer.join()
        self._supervisor.terminate()
        try:
            return self._supervisor.wait(within)
        except subprocess.TimeoutExpired:
            self._signal_worker(signal.SIGKILL)
            self._supervisor.kill()
            self._supervisor.wait()
            return -9

    def processes(self) -> list[int]:
        """Whatever runs with this machine's folders: nothing, once it has stopped."""
        ours = f"WORKSPACES_DIR={self._env['WORKSPACES_DIR']}\0".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if ours in (process / "environ").read_bytes():
                    found.append(int(process.name))
        return found

    @property
    def log(self) -> str:
        return (self.folder / "worker.log").read_text(errors="replace")


def _started(pid: int) -> str:
    """When the process with this number was started; empty where there is none."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""


class System:
    """The servers that all machines share, and their environment."""

    def __init__(self, folder: Path, database: PostgresServer, redis_port: int) -> None:
        self.folder, self.database = folder, database
        self.redis = RedisServer(folder / "redis", redis_port)
        self.machines: list[Machine] = []

    def start(self) -> None:
        self.redis.start()
        subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=BASE, check=True)

    def machine(self, n: int) -> Machine:
        folder = self.folder / f"machine{n}"
        boxes = {"DATA_DIR": str(folder / "data"), "WORKSPACES_DIR": str(folder / f"{self.folder.name}-boxes{n}")}
        machine = Machine(folder, os.environ | boxes)
        self.machines.append(machine)
        return machine

    def lose_redis(self) -> bool:
        """kill -9, and nothing of it is left; it comes back empty."""
        self.redis.kill()
        shutil.rmtree(self.redis.folder)
        time.sleep(1.0)
        self.redis.start()
        return True

    def restart_database(self) -> bool:
        """As after a crash of the server: at once, all connections are cut."""
        self.database.crash()
        time.sleep(1.0)
        self.database.start()
        return True

    def stop(self) -> None:
        for machine in self.machines:
            machine.stop()
        self.redis.stop()

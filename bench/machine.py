"""The servers that all systems share: PostgreSQL with fsync (a database for each system), Redis, the model server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

BASE = Path(__file__).resolve().parents[1]
DATABASES = ("dbos_peer", "langgraph_peer", "prefect_peer", "large", "real")


@dataclass(frozen=True, slots=True)
class Machine:
    """Addresses and pids; handed to the session in its environment, since Django reads its settings from there at the first import."""

    folder: str
    database_url: str
    database_pid: int
    redis_url: str
    redis_pid: int
    model_url: str

    @classmethod
    def of_this_session(cls) -> Machine:
        return cls(**json.loads(os.environ["BENCH_MACHINE"]))

    def database_of(self, name: str) -> str:
        return self.database_url.removesuffix("postgres") + name

    def file(self, name: str) -> Path:
        return Path(self.folder) / name

    def environment(self, **more: str) -> dict[str, str]:
        """For whatever is started: ours reads all of it, a peer what it is told."""
        return os.environ | {"MODEL_URL": self.model_url, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(BASE)} | more

    def session(self) -> dict[str, str]:
        mine = {"DJANGO_SETTINGS_MODULE": "compymac_site.settings", "DATABASE_URL": self.database_url}
        mine |= {"REDIS_URL": self.redis_url, "CELERY_BROKER_URL": self.redis_url, "ENV_FILE": "/dev/null"}
        mine |= {"DATA_DIR": f"{self.folder}/data", "LOG_LEVEL": "INFO", "BENCH_MACHINE": json.dumps(asdict(self))}
        return self.environment(**mine)


@contextmanager
def machine() -> Iterator[Machine]:
    """Start the servers; all of them are stopped afterwards, and their folder is gone."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "compymac_site.settings")
    from orchestration.redis_server import RedisServer  # the package reads the settings: not before they are chosen
    from tests.support.postgres import PostgresServer

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="compymac-bench-", dir="/tmp")))
        folder.chmod(0o711)
        database = stack.enter_context(PostgresServer(fsync=True))
        for name in DATABASES:
            database.new_database(name)
        redis = stack.enter_context(RedisServer(folder / "redis"))
        argv = [sys.executable, "-m", "bench.model_server"]
        model = subprocess.Popen(argv, cwd=BASE, stdout=subprocess.PIPE, text=True, start_new_session=True)
        stack.callback(model.wait)
        stack.callback(model.kill)
        assert model.stdout is not None
        url = model.stdout.readline().strip()
        yield Machine(str(folder), database.url, database.pid, redis.url, redis.pid or 0, url)

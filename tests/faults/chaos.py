"""python -m tests.faults.chaos: goals on three machines, while workers, supervisors, Redis and PostgreSQL are killed.

Every goal that was neither cancelled nor given a permanent model error must end succeeded, with the tree of the undisturbed run; the
invariants must hold of the database, our books must agree with the provider's, and nothing may be left on the host. Exit code 0: so.
"""

from __future__ import annotations

import argparse
import importlib
import os
import socket
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from tests.support.postgres import PostgresServer

from .plan import LONG, QUICK, Plan
from .provider import Flaky, Notes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true", help="half an hour instead of two minutes")
    parser.add_argument("--seed", type=int, default=1, help="another order of events (default %(default)s)")
    parser.add_argument("--minutes", type=float, help="scale it: --long --minutes 5 is a sixth of the long one")
    asked = parser.parse_args()
    plan = replace(LONG if asked.long else QUICK, seed=asked.seed)
    with ExitStack() as stack:
        return run(plan.scaled(asked.minutes) if asked.minutes else plan, stack)


def run(plan: Plan, stack: ExitStack) -> int:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="compymac-chaos-", dir="/tmp")))
    folder.chmod(0o711)
    database = stack.enter_context(PostgresServer(durable=True))
    model = Flaky(Notes(0.0), 0.0, plan.seed)
    stack.callback(model.stop)
    port = _free_port()
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "compymac_site.settings",
        "DATABASE_URL": database.url,
        "REDIS_URL": f"redis://127.0.0.1:{port}/0",
        "CELERY_BROKER_URL": f"redis://127.0.0.1:{port}/0",
        "DATA_DIR": str(folder / "data"),
        "WORKSPACES_DIR": str(folder / "boxes"),
        "LLM_BASE_URL": model.url,
        "LLM_MODEL": "notes",
        "LEASE_SECONDS": "6",
        "HOUSEKEEPER_SECONDS": "1",
        "WORKER_THREADS": "16",
        "MAX_LOSSES": "25",  # the suite kills a run more often than any operator would
        "DATABASE_POOL_SIZE": "8",
    }
    storm = importlib.import_module("tests.faults.storm")  # the engine reads its settings at import
    return int(storm.run(plan, folder, database, port, model, stack))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())

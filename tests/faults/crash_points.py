"""python -m tests.faults.crash_points: kill a worker process at every occurrence of every seam, and see the same result each time.

The seams are transactions, publishing, port calls and subprocesses (seams.py); the goals are a pair that conflicts, a replan and a
cancellation (reference.py). SQLite, or PostgreSQL where --postgres says so. Exit code 0: everything held.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.llm.demo_server import DemoServer, serve
from tests.support.postgres import PostgresServer

from .reference import Reference

LANES = 3  # side by side: a life waits about half of its time


@dataclass
class Verdict:
    """What the cases came to."""

    trees: Counter[str] = field(default_factory=Counter)
    died: Counter[str] = field(default_factory=Counter)
    trouble: list[str] = field(default_factory=list)
    places: set[str] = field(default_factory=set)
    cases: int = 0
    losses: int = 0
    answered: int = 0
    begun: int = 0

    def add(self, result: dict[str, Any]) -> None:
        self.cases += 1
        self.died.update(result["died"])
        self.trouble += [f"{result['case']}: {line}" for line in result["trouble"]]
        if "tree" in result:
            self.trees[result["tree"]] += 1
            self.losses += result["losses"]
        if not result["died"]:
            self.places |= set(result.get("places", ()))

    def __str__(self) -> str:
        reached = len(self.places & set(self.died))
        return (
            f"{self.cases} cases, {self.died.total()} kills at {len(self.died)} places "
            f"({reached} of the {len(self.places)} of the undisturbed way), {self.losses} losses"
        )

    def told(self, paid: int) -> list[str]:
        """What does not hold of all cases together."""
        found = list(self.trouble)
        if len(self.trees) != 1:
            found.append(f"the final trees differ: {dict(self.trees)}")
        if not self.answered <= paid <= self.begun:
            found.append(
                f"the provider was asked {paid} times; {self.answered} answers are recorded, {self.begun} were begun"
            )
        return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postgres", action="store_true")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--cases", type=int, default=24, help="cases of about ten random kills each (default %(default)s)")
    how.add_argument("--every", action="store_true", help="a case for every single occurrence (an hour or more)")
    parser.add_argument("--seed", type=int, default=time.localtime().tm_yday, help="default: another one each day")
    asked = parser.parse_args()
    with ExitStack() as stack:
        return run(asked, stack)


def run(asked: argparse.Namespace, stack: ExitStack) -> int:
    began = time.monotonic()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="compymac-crash-", dir="/tmp")))
    folder.chmod(0o711)
    server = stack.enter_context(PostgresServer()) if asked.postgres else None
    model = _model(stack)
    verdict, occurrences = Verdict(), 0
    lanes = [_Lane("undisturbed", folder, server, model, ["0/0"])]
    for result in _results(lanes):
        verdict.add(result)
        occurrences = len(result.get("places", ()))
    if not occurrences:
        print(f"✗ the undisturbed goals: {verdict.trouble or lanes[0].last_words()}")
        return 1
    cases = _cases(asked, occurrences)
    lanes += [_Lane(f"lane{n}", folder, server, model, cases[n::LANES]) for n in range(LANES)]
    for result in _results(lanes[1:]):
        verdict.add(result)
        _progress(result, verdict, len(cases) + 1)
    verdict.trouble += [f"{lane.name} ended with {lane.code}: {lane.last_words()}" for lane in lanes if lane.code]
    verdict.answered, verdict.begun = (sum(lane.counted[name] for lane in lanes) for name in ("answered", "begun"))
    trouble = verdict.told(len(model.calls))
    print(f"{'PostgreSQL' if server else 'SQLite'}, seed {asked.seed}: {verdict}, {time.monotonic() - began:.0f} s")
    for line in trouble:
        print(f"✗ {line}")
    return 1 if trouble or not verdict.died else 0


def _cases(asked: argparse.Namespace, occurrences: int) -> list[str]:
    """As `first/seed` (lane.py)."""
    if asked.every:
        return [f"{n}/0" for n in range(1, occurrences + 1)]
    chance = random.Random(asked.seed)
    return [f"{chance.randrange(1, occurrences)}/{asked.seed * 1000 + n}" for n in range(1, asked.cases + 1)]


def _model(stack: ExitStack) -> DemoServer:
    server = serve(answerer=Reference())
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
    return server


class _Lane:
    """A process that works cases one after another on a database of its own."""

    def __init__(
        self, name: str, folder: Path, server: PostgresServer | None, model: DemoServer, cases: list[str]
    ) -> None:
        self.name, self.code = name, 0
        self.counted = {"answered": 0, "begun": 0}
        self._errors = folder / f"{self.name}.err"
        self._env = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "compymac_site.settings",
            "DATABASE_URL": server.new_database(self.name) if server else f"sqlite:///{folder}/{self.name}.sqlite3",
            "DATA_DIR": str(folder / f"{self.name}-data"),
            "WORKSPACES_DIR": str(folder / f"{folder.name}-{self.name}"),
            "LLM_BASE_URL": model.url,
            "LLM_MODEL": "reference",
            "LEASE_SECONDS": "3",
            "MAX_LOSSES": "1000",  # a case kills dozens of times
            "LOG_LEVEL": "ERROR",
        }
        self._argv = [sys.executable, "-m", "tests.faults.lane", "--name", self.name, *cases]

    def work(self, told: Any) -> None:
        """Migrate, then the cases; each result is handed to `told`."""
        with self._errors.open("w") as errors:
            subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], env=self._env, stderr=errors, check=True)
            process = subprocess.Popen(self._argv, env=self._env, stdout=subprocess.PIPE, stderr=errors, text=True)
            assert process.stdout is not None
            for line in process.stdout:
                result = json.loads(line)
                self.counted = {name: result.get(name, before) for name, before in self.counted.items()}
                told(result)
            self.code = process.wait()

    def last_words(self) -> str:
        return self._errors.read_text()[-2000:]


def _results(lanes: list[_Lane]) -> Any:
    """The results of all lanes as they come."""
    results: queue.Queue[Any] = queue.Queue()

    def work(lane: _Lane) -> None:
        try:
            lane.work(results.put)
        except Exception as error:  # noqa: BLE001
            lane.code = lane.code or 1
            print(f"{lane.name}: {error}", file=sys.stderr)
        finally:
            results.put(None)

    for lane in lanes:
        threading.Thread(target=work, args=(lane,), daemon=True).start()
    for _ in lanes:
        while (result := results.get()) is not None:
            yield result


def _progress(result: dict[str, Any], verdict: Verdict, of: int) -> None:
    mark = "✗" if result["trouble"] else "✓"
    print(f"{mark} {verdict.cases}/{of} {result['case']}: {len(result['died'])} kills", flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""python -m tests.faults.crash_points: kill a worker process at every occurrence of every seam, and see the same result each time.

The seams are transactions, publishing, port calls and subprocesses (seams.py); the goals are a pair that conflicts, a replan and a
cancellation (reference.py). SQLite, or PostgreSQL where --postgres says so. Exit code 0: everything held, and each place that the
undisturbed goals pass was died at.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import shutil
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
ENOUGH = 0.95  # of the occurrences; some are passed only in one order of the pair, or when a thread is late


@dataclass
class Verdict:
    """What the cases came to."""

    trees: Counter[str] = field(default_factory=Counter)
    died: set[str] = field(default_factory=set)
    trouble: list[str] = field(default_factory=list)
    places: set[str] = field(default_factory=set)
    points: set[str] = field(default_factory=set)
    cases: int = 0
    kills: int = 0
    losses: int = 0
    answered: int = 0
    begun: int = 0

    def add(self, result: dict[str, Any]) -> None:
        self.cases += 1
        self.kills += len(result["died"])
        self.died |= set(result["died"])
        died = f" (it died at {'; '.join(result['died'])})" if result["trouble"] else ""
        self.trouble += [f"{result['case']}: {line}{died}" for line in result["trouble"]]
        if "tree" in result:
            self.trees[result["tree"]] += 1
            self.losses += result["losses"]
        for place, point in result.get("points", ()):
            self.places.add(place)
            self.points.add(point)

    @property
    def missed(self) -> list[str]:
        """Places of the undisturbed way that nobody has died at."""
        return sorted(self.places - {place_of(point) for point in self.died})

    def __str__(self) -> str:
        return (
            f"{self.cases} cases, {self.kills} kills, {self.losses} losses; of the undisturbed way "
            f"{len(self.places) - len(self.missed)} of {len(self.places)} places and "
            f"{len(self.points & self.died)} of {len(self.points)} occurrences"
        )

    def told(self, paid: int, *, every: bool) -> list[str]:
        """What does not hold of all cases together."""
        found = [*self.trouble, *(f"nobody died at: {place}" for place in self.missed)]
        if every and len(self.points & self.died) < ENOUGH * len(self.points):
            found += [f"nobody died at: {point}" for point in sorted(self.points - self.died)]
        if len(self.trees) != 1:
            found.append(f"the final trees differ: {dict(self.trees)}")
        if not self.answered <= paid <= self.begun:
            found.append(
                f"the provider was asked {paid} times; {self.answered} answers are recorded, {self.begun} were begun"
            )
        return found


def place_of(point: str) -> str:
    """Without whose work it was, and the how many-th time."""
    return point.partition(" [")[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--places", action="store_true", help="one kill at each place instead of at each occurrence")
    parser.add_argument("--minutes", type=float, default=20.0, help="begin no case later (default %(default)s)")
    asked = parser.parse_args()
    with ExitStack() as stack:
        return run(asked, stack)


def run(asked: argparse.Namespace, stack: ExitStack) -> int:
    began = time.monotonic()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="compymac-crash-", dir="/tmp")))
    folder.chmod(0o711)
    databases = Databases(folder, stack.enter_context(PostgresServer()) if asked.postgres else None)
    model = _model(stack)
    verdict = Verdict()
    undisturbed = _Lane("undisturbed", databases, model, ["--undisturbed"])
    for result in _results([undisturbed]):
        verdict.add(result)
    if not verdict.points:
        print(f"✗ the undisturbed goals: {verdict.trouble or undisturbed.last_words()}")
        return 1
    wanted = folder / "wanted"
    wanted.write_text("" if asked.places else "\n".join(sorted(verdict.points)))
    how = ["--ledger", str(folder / "ledger"), "--wanted", str(wanted), "--seconds", str(asked.minutes * 60)]
    lanes = [_Lane(f"lane{n}", databases, model, how) for n in range(LANES)]
    for result in _results(lanes):
        verdict.add(result)
        _progress(result, verdict)
    lanes.append(undisturbed)
    verdict.trouble += [f"{lane.name} ended with {lane.code}: {lane.last_words()}" for lane in lanes if lane.code]
    verdict.answered, verdict.begun = (sum(lane.counted[name] for lane in lanes) for name in ("answered", "begun"))
    trouble = verdict.told(len(model.calls), every=not asked.places)
    print(f"{databases}: {verdict}, {time.monotonic() - began:.0f} s")
    for line in trouble:
        print(f"✗ {line}")
    return 1 if trouble else 0


def _model(stack: ExitStack) -> DemoServer:
    server = serve(answerer=Reference())
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
    return server


class Databases:
    """Migrated once, and copied for each lane."""

    def __init__(self, folder: Path, server: PostgresServer | None) -> None:
        self.folder, self._server = folder, server
        url = self._new("template")
        env = os.environ | {"DATABASE_URL": url, "DATA_DIR": str(folder / "template-data")}
        subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], env=env, check=True)

    def __str__(self) -> str:
        return "PostgreSQL" if self._server else "SQLite"

    def _new(self, name: str) -> str:
        return self._server.new_database(name) if self._server else f"sqlite:///{self.folder}/{name}.sqlite3"

    def copy(self, name: str) -> str:
        """The address of a migrated database."""
        if self._server:
            return self._server.new_database(name, like="template")
        shutil.copy(self.folder / "template.sqlite3", self.folder / f"{name}.sqlite3")
        return self._new(name)


class _Lane:
    """A process that works cases one after another on a database of its own."""

    def __init__(self, name: str, databases: Databases, model: DemoServer, how: list[str]) -> None:
        self.name, self.code = name, 0
        self.counted = {"answered": 0, "begun": 0}
        folder = databases.folder
        self._errors = folder / f"{self.name}.err"
        self._env = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "compymac_site.settings",
            "DATABASE_URL": databases.copy(name),
            "DATA_DIR": str(folder / f"{self.name}-data"),
            "WORKSPACES_DIR": str(folder / f"{folder.name}-{self.name}"),
            "LLM_BASE_URL": model.url,
            "LLM_MODEL": "reference",
            "LEASE_SECONDS": "3",
            "MAX_LOSSES": "1000",  # a case kills dozens of times
            "LOG_LEVEL": "ERROR",
        }
        self._argv = [sys.executable, "-m", "tests.faults.lane", "--name", self.name, *how]

    def work(self, told: Any) -> None:
        """The cases; each result is handed to `told`."""
        with self._errors.open("w") as errors:
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


def _progress(result: dict[str, Any], verdict: Verdict) -> None:
    mark = "✗" if result["trouble"] else "✓"
    met = len(verdict.points & verdict.died)
    print(f"{mark} {result['case']}: {len(result['died'])} kills; {met} of {len(verdict.points)}", flush=True)
    for line in result["trouble"]:
        print(f"    {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""The systems under test behind one call: `run(shape, goals, spread)`. Each has two processes, a database or queue of its own."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.machine import BASE, Machine
from bench.measure import cpu_seconds
from bench.peers.common import Shape, spread
from orchestration.models import Goal
from orchestration.services import submit_goal

PEERS = BASE / ".bench-venv" / "bin" / "python"
PROCESSES = 2
THREADS = 250  # each: a fan of 50 goals has 400 steps in flight
Mark = tuple[str, int, float, float]


@dataclass
class Result:
    """`goals`: seconds of each goal, begin to end. `cpu`: of its processes and the database, in seconds."""

    goals: list[float]
    marks: list[Mark]
    seconds: float
    cpu: dict[str, float] = field(default_factory=dict)

    @property
    def hops(self) -> list[float]:
        """From the begin of one step of a goal to the begin of the next, without the model server's own time."""
        by_goal: dict[str, list[Mark]] = defaultdict(list)
        for mark in self.marks:
            by_goal[mark[0]].append(mark)
        found = []
        for marks in by_goal.values():
            marks.sort(key=lambda mark: mark[1])
            found += [b[2] - a[2] - a[3] for a, b in itertools.pairwise(marks)]
        return found

    @property
    def per_second(self) -> float:
        """Steps from the first step's begin to the last one's."""
        begun = sorted(mark[2] for mark in self.marks)
        return (len(begun) - 1) / (begun[-1] - begun[0])


class Peer:
    """A system that is driven over stdin by JSON lines."""

    durable = True

    def __init__(self, name: str, module: str, machine: Machine) -> None:
        self.name, self.machine = name, machine
        url = machine.database_of(module)
        self._processes = [
            self._start(module, machine.environment(DATABASE_URL=url, MIGRATE="1" if first else ""))
            for first in (True, False)
        ]

    def _start(self, module: str, env: dict[str, str]) -> subprocess.Popen[str]:
        log = (self.machine.file(f"{module}.log")).open("a")
        process = subprocess.Popen(
            [str(PEERS), "-m", f"bench.peers.{module}"],
            cwd=BASE, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            start_new_session=True,
        )  # fmt: skip
        self._answer(process)
        return process

    def _answer(self, process: subprocess.Popen[str]) -> Any:
        assert process.stdout is not None
        while line := process.stdout.readline():
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"{self.name} ended; see {self.machine.folder}")

    @property
    def pids(self) -> dict[str, list[int]]:
        return {"workers": [p.pid for p in self._processes], "database": [self.machine.database_pid]}

    def run(self, shape: Shape, goals: int = 1, over: float = 0.0) -> Result:
        """Half of the goals in each process, evenly begun `over` so many seconds."""
        share = [goals // 2 + goals % 2, goals // 2]
        used = Used(self.pids)
        with ThreadPoolExecutor(PROCESSES) as pool:
            parts = [
                pool.submit(self._ask, p, shape, n, over) for p, n in zip(self._processes, share, strict=True) if n
            ]
            answers = [part.result() for part in parts]
        return Result(
            [g for a in answers for g in a["goals"]],
            [tuple(m) for a in answers for m in a["marks"]],
            max(a["seconds"] for a in answers),
            used.since(),
        )

    def _ask(self, process: subprocess.Popen[str], shape: Shape, goals: int, over: float) -> Any:
        assert process.stdin is not None
        process.stdin.write(json.dumps({"shape": shape.as_json(), "goals": goals, "spread": over}) + "\n")
        process.stdin.flush()
        return self._answer(process)

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


class CeleryPeer(Peer):
    """One driver, two workers; the marks are in a file. Its Redis is the machine's second logical database."""

    durable = False

    def __init__(self, name: str, module: str, machine: Machine) -> None:
        self.name, self.machine = name, machine
        self._marks = MarkFile(machine.file("celery.marks"))
        broker = machine.redis_url.removesuffix("/0") + "/1"
        env = machine.environment(REDIS_URL=broker, MARKS=str(self._marks.path))
        self._processes = [self._start(module, env)]
        argv = [
            str(PEERS),
            "-m",
            "celery",
            "-A",
            "bench.peers.celery_peer",
            "worker",
            "-P",
            "threads",
            "-c",
            str(THREADS),
        ]
        argv += ["--without-gossip", "--without-mingle", "--loglevel=info", "--disable-prefetch"]
        self._workers = [
            start_worker([*argv, "-n", f"w{n}@%h"], env, machine.file(f"celery-{n}.log")) for n in range(2)
        ]

    @property
    def pids(self) -> dict[str, list[int]]:
        return {"workers": [p.pid for p in self._workers], "redis": [self.machine.redis_pid]}

    def run(self, shape: Shape, goals: int = 1, over: float = 0.0) -> Result:
        used = Used(self.pids)
        answer = self._ask(self._processes[0], shape, goals, over)
        return Result(answer["goals"], self._marks.take(), answer["seconds"], used.since())

    def stop(self) -> None:
        super().stop()
        for worker in self._workers:
            worker.kill()
            worker.wait()


class Ours:
    """Two worker processes, and this process in the web's place: it submits, and reads what the rows say."""

    durable = True
    name = "ours"

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._marks = MarkFile(machine.file("ours.marks"))
        self._workers: list[subprocess.Popen[bytes]] = []
        argv = [sys.executable, "-m", "bench.worker", "-A", "compymac_site", "worker", "--loglevel=info"]
        env = machine.environment(MARKS=str(self._marks.path), WORKER_THREADS=str(THREADS), LLM_MODEL="bench")
        for n in range(PROCESSES):
            log = machine.file(f"worker-{n}.log")
            self._workers.append(start_worker([*argv, "-n", f"w{n}@%h"], env, log, "housekeeper and heartbeat run"))

    @property
    def pids(self) -> dict[str, list[int]]:
        workers = [process.pid for process in self._workers]
        return {"workers": workers, "database": [self.machine.database_pid], "web": [-os.getpid()]}

    def run(self, shape: Shape, goals: int = 1, over: float = 0.0) -> Result:
        used, ids = Used(self.pids), []
        calls = 10 * (shape.steps + 2)
        limits = {"calls": min(calls, 200), "tokens": 100_000}

        def one(_: int) -> None:
            ids.append(submit_goal("a goal of the benchmark", context=shape.as_json(), limits=limits).pk)

        began = time.monotonic()
        spread(goals, over, one)
        while Goal.objects.filter(pk__in=ids, ended_at__isnull=True).exists():
            time.sleep(0.1)
        seconds = time.monotonic() - began
        rows = list(Goal.objects.filter(pk__in=ids).values_list("created_at", "ended_at", "status", "reason"))
        if bad := [row for row in rows if row[2] != "succeeded"]:
            raise RuntimeError(f"{len(bad)} goals of the benchmark did not succeed: {bad[0]}")
        took = [(ended - created).total_seconds() for created, ended, _, _ in rows]
        return Result(took, self._marks.take(), seconds, used.since())

    def hops(self) -> list[float]:
        """Of the steps since the last look."""
        return Result([], self._marks.take(), 0.0).hops

    def stop(self) -> None:
        for worker in self._workers:
            worker.terminate()
        for worker in self._workers:
            worker.wait(40)


class Used:
    """CPU from here on, by what used it."""

    def __init__(self, pids: dict[str, list[int]]) -> None:
        self._pids, self._before = pids, {}
        self._before = {name: cpu_seconds(ids) for name, ids in pids.items()}

    def since(self) -> dict[str, float]:
        return {name: cpu_seconds(ids) - self._before[name] for name, ids in self._pids.items()}


class MarkFile:
    """What the steps of worker processes wrote since the last look."""

    def __init__(self, path: Path) -> None:
        self.path, self._read = path, 0
        path.touch()

    def take(self) -> list[Mark]:
        with self.path.open() as file:
            file.seek(self._read)
            lines = file.readlines()
            self._read = file.tell()
        return [tuple(json.loads(line)) for line in lines]


def start_worker(argv: Sequence[str], env: dict[str, str], log: Path, *also: str) -> subprocess.Popen[bytes]:
    """A Celery worker, once it is ready."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            argv, env=env, cwd=BASE, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )
    ends = time.monotonic() + 90
    while not all(word in log.read_text(errors="replace") for word in (" ready.", *also)):
        if process.poll() is not None or time.monotonic() > ends:
            raise RuntimeError(f"a worker did not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.1)
    return process

"""Where the CPU of a step goes: one goal's chain in this thread under cProfile, and its statements."""

from __future__ import annotations

import cProfile
import os
import pstats
import sys
import time
from collections import Counter

from django.core.management import call_command
from django.db import connection

os.environ.setdefault("MARKS", os.devnull)
os.environ.setdefault("LLM_MODEL", "bench")

import bench.worker  # noqa: F401 - lays its procedures in
from bench.peers.common import Shape
from orchestration import dispatch, runtime, services
from orchestration.models import Goal

STEPS = 40


def main() -> int:
    call_command("migrate", verbosity=0)
    dispatch.use(dispatch.publish_nothing)
    worker = runtime.Worker(["planning", "execution", "review"], 1)
    worker.keep_alive()
    call = 0 if "--call" in sys.argv else None
    _work(worker, call)  # warm
    seen: list[tuple[str, float]] = []

    def watch(execute, sql, params, many, context):
        began = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            seen.append((sql, time.perf_counter() - began))

    began = time.perf_counter()
    _work(worker, call)
    plain = time.perf_counter() - began
    profile = cProfile.Profile()
    with connection.execute_wrapper(watch):
        profile.runcall(_work, worker, call)
    out = sys.stdout
    out.write(f"{1000 * plain / STEPS:.2f} ms a step, {len(seen) / STEPS:.1f} statements a step\n")
    for sql, times in Counter(sql[: int(os.environ.get("W", "150"))] for sql, _ in seen).most_common(45):
        out.write(f"{times / STEPS:6.2f} × {sql}\n")
    pstats.Stats(profile, stream=out).sort_stats(os.environ.get("SORT", "tottime")).print_stats(45)
    return 0


def _work(worker: runtime.Worker, call: int | None) -> None:
    goal = services.submit_goal("profiled", context=Shape(STEPS, call=call).as_json(), limits={"calls": 200})
    while Goal.objects.filter(pk=goal.pk, ended_at__isnull=True).exists():
        run = services.pull(worker.queues, worker.name)
        if run is not None:
            worker._go_on(run)


if __name__ == "__main__":
    sys.exit(main())

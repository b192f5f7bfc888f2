"""The chaos suite itself; imported once the environment names the servers, because the engine reads its settings at import."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.support.postgres import PostgresServer

from . import judge
from .machines import Machine, System
from .plan import Plan, blows
from .provider import Flaky

FREEZE = 9.0  # seconds: longer than a lease


def run(plan: Plan, folder: Path, database: PostgresServer, redis_port: int, model: Flaky, stack: ExitStack) -> int:
    """Exit code 0: everything was as promised."""
    system = System(folder, database, redis_port)
    stack.callback(system.stop)
    system.start()
    wanted = judge.undisturbed(system)
    model.think_and_fail(plan.think, plan.failing)
    machines = [system.machine(n) for n in range(plan.machines)]
    accepted = judge.submit(plan)
    done = strike(plan, system, machines, lambda: judge.cancel_one(accepted))
    peace = judge.await_end(accepted, plan.patience)
    trouble = [f"a machine left with {code}" for machine in machines if (code := machine.stop())]
    trouble += judge.judge(accepted, wanted, model, system)
    print(
        f"{len(accepted.all)} goals, {dict(done)}, {judge.numbers()}; all had ended {peace:.0f} s after the last blow"
    )
    for line in trouble:
        print(f"✗ {line}")
    return 1 if trouble else 0


def strike(plan: Plan, system: System, machines: list[Machine], cancel: Callable[[], bool]) -> Counter[str]:
    """Deal every blow at its time; how many of each."""
    chance = random.Random(plan.seed + 1)
    done: Counter[str] = Counter()
    began = time.monotonic()
    for at, kind in blows(plan):
        time.sleep(max(0.0, began + at - time.monotonic()))
        machine = chance.choice(machines)
        match kind:
            case "worker":
                hit = machine.kill_worker()
                if not hit:  # it is just starting one: then that is what dies
                    kind, hit = "supervisor", machine.kill_supervisor(signal.SIGKILL)
            case "supervisor":
                hit = machine.kill_supervisor(chance.choice((signal.SIGKILL, signal.SIGTERM)))
            case "redis":
                hit = system.lose_redis()
            case "database":
                hit = system.restart_database()
            case "freeze":
                hit = machine.freeze(FREEZE)
            case "drain":
                hit = machine.drain_worker()
            case _:
                hit = cancel()
        done[kind if hit else f"{kind} (nothing there)"] += 1
        if done.total() % 10 == 0:
            print(f"  {time.monotonic() - began:.0f} s: {dict(done)}", flush=True)
    return done

"""One measuring session: all systems up, rounds interleaved, the table, bench/results.json. `--quick` compares with those."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import django

django.setup()

from bench import parts
from bench.machine import BASE, Machine
from bench.measure import load
from bench.systems import CeleryPeer, Ours, Peer
from bench.table import Figure, show
from orchestration import processes

RESULTS = BASE / "bench" / "results.json"
WORSE = 1.10
BUSY = 2.0 * (os.cpu_count() or 1)
QUICK = ("chain", "rate")
WHOLE = [name for name in parts.PARTS if name not in parts.ASKED_FOR]


@contextmanager
def systems(here: Machine, peers: bool, quick: bool) -> Iterator[list[Any]]:
    """Ours and the peers; of those, a quick comparison needs DBOS alone."""
    with ExitStack() as stack:
        up: list[Any] = []

        def add(system: Any) -> None:
            up.append(system)
            stack.callback(system.stop)

        add(Ours(here))
        if peers:
            add(Peer("DBOS", "dbos_peer", here))
        if peers and not quick:
            add(Peer("LangGraph", "langgraph_peer", here))
            add(CeleryPeer("Celery", "celery_peer", here))
        yield up


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--quick", action="store_true", help="a minute: compare with bench/results.json, warn beyond 10 %%"
    )
    parser.add_argument("--only", default="", help=f"some of {','.join(parts.PARTS)}")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    names = asked.only.split(",") if asked.only else list(QUICK if asked.quick else WHOLE)
    if unknown := sorted(set(names) - set(parts.PARTS)):
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(parts.PARTS)}")
    here, before = Machine.of_this_session(), load()
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=BASE, check=True)
    processes.start_web()
    figures: list[Figure] = []
    failed: list[str] = []
    with systems(here, any(name in parts.WITH_PEERS for name in names), asked.quick) as up:
        for name in names:
            say(f"… {name} (load {load():.1f})")
            try:
                rows = parts.PARTS[name](parts.Context(here, up, 2 if asked.quick else asked.rounds))
                figures += [replace(row, load=round(load(), 1)) for row in rows]
            except Exception as error:  # noqa: BLE001 - a part that breaks must not cost the others
                failed.append(name)
                say(f"{name} FAILED: {type(error).__name__}: {error}")
    audit = subprocess.run([sys.executable, "manage.py", "audit_invariants", "--at-rest"], cwd=BASE, check=False)
    after = load()
    if not asked.quick:
        keep(figures, before, after)
    show(figures, say)
    held = "the invariants hold" if not audit.returncode else "INVARIANTS DO NOT HOLD"
    if max(row.load for row in figures or [Figure("", "", 0)]) > BUSY:
        say(
            f"\nThe machine was BUSY: no time here is the truth, and each row in {RESULTS.name} says its load. Compare ratios."
        )
    say(f"\nload average before {before:.1f}, after {after:.1f}, on {os.cpu_count()} cores; {held}")
    if asked.quick:
        return compare(figures)
    return audit.returncode or bool(failed)


def stored() -> dict[str, Figure]:
    if not RESULTS.exists():
        return {}
    return {row["name"]: Figure(**row) for row in json.loads(RESULTS.read_text())["figures"]}


def keep(figures: list[Figure], before: float, after: float) -> None:
    """Rows that were not measured now stay as they were. So does what a quieter machine did, unless this busy one did it better."""
    rows = stored()
    for figure in figures:
        then = rows.get(figure.name)
        quiet = figure.unit == "MB" or figure.load <= BUSY
        if then is None or quiet or figure.load <= then.load or figure.better_than(then):
            rows[figure.name] = figure
        else:
            say(f"not stored, the machine is busy (load {figure.load:g}, then {then.load:g}): {figure.name}")
    when = datetime.now(UTC).isoformat(timespec="seconds")
    told = {
        "at": when,
        "cores": os.cpu_count(),
        "load": [before, after],
        "figures": [f.as_json() for f in rows.values()],
    }
    RESULTS.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")


def compare(figures: list[Figure]) -> int:
    """Ratios to DBOS in the same minute: they mean the same on a busy machine and on an idle one."""
    known = stored()
    for figure in figures:
        then = known.get(figure.name)
        if then is None or "DBOS" not in figure.peers or "DBOS" not in then.peers:
            continue
        was, now = then.ratio("DBOS"), figure.ratio("DBOS")
        worse = now / was if figure.lower_is_better else was / now
        say(f"{'WARNING' if worse > WORSE else 'ok'}: {figure.name}: {was:.2f} → {now:.2f} × DBOS ({worse - 1:+.0%})")
    return 0


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

"""One lane of the crash points: cases one after another on a database of its own, each life a fork of this process.

In a case each life dies at the first point where nobody has died before it (ledger.py), until one reaches the end. The cases are over
when one of them has met nothing new, or the time is. `--undisturbed`: a single case in which nobody dies.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.db import connection  # noqa: E402

from agents.sandbox import registry as sandboxes  # noqa: E402
from agents.sandbox.leftovers import processes_in  # noqa: E402
from orchestration import audit, equipment  # noqa: E402
from orchestration.blobs import load_blob  # noqa: E402
from orchestration.invariants import Violation  # noqa: E402
from orchestration.models import Call, Goal  # noqa: E402
from orchestration.states import CallKind, CallStatus  # noqa: E402

from .ledger import Ledger  # noqa: E402
from .life import live  # noqa: E402
from .reference import CANCEL, WORK  # noqa: E402
from .seams import KILLED, Point  # noqa: E402

PLACES_FIRST = 2  # cases of a lane that die at no place twice: so that each is met, also where the time is short
MOST_LIVES = 400  # a case that needs more makes no progress

Tell = Callable[[Any], None]


def in_a_fork(job: Callable[[Tell], Any]) -> tuple[int, Any]:
    """(exit code, what `job` returned or told before it was killed); this process stays without threads and connections."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        code = 1
        try:
            _say(writer, job(lambda value: _say(writer, value)))
            code = 0
        except BaseException:  # noqa: BLE001 - the parent reads it
            _say(writer, traceback.format_exc())
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        said = told.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code, json.loads(said) if said else None


def _say(pipe: int, value: Any) -> None:
    data = json.dumps(value).encode()
    while data:
        data = data[os.write(pipe, data) :]


def run_case(name: str, ledger: Ledger | None) -> dict[str, Any]:
    """Lives until one reaches the end; what was died at, and what does not hold."""
    died: list[str] = []
    killed: Counter[str] = Counter()
    while True:
        dies = ledger.of_life(killed) if ledger else _nobody
        code, told = in_a_fork(partial(_live, name, dies))
        if code == 0:
            break
        if code != KILLED or len(died) >= MOST_LIVES:
            return {"case": name, "died": died, "trouble": [f"life {len(died) + 1} ended with {code}: {told}"]}
        died.append(told["point"])
        killed[told["run"]] += 1
    code, result = in_a_fork(lambda _: _look(name))
    if code:
        return {"case": name, "died": died, "trouble": [str(result)]}
    return {"case": name, "died": died, **({} if ledger else {"points": told}), **result}


def _live(name: str, dies: Callable[[Point], bool], tell: Tell) -> list[tuple[str, str]]:
    points = live(name, dies, lambda point: tell({"point": str(point), "run": point.run}))
    return [(point.place, str(point)) for point in points]


def _nobody(point: Point) -> bool:
    return False


def _look(name: str) -> dict[str, Any]:
    work, cancel = (Goal.objects.get(text=f"{text}\n{name}") for text in (WORK, CANCEL))
    trouble = _left_on_the_host()
    trouble += [
        f"{v.invariant}: {v.subject}: {v.detail}"
        for v in audit.audit(audit.Asked(at_rest=True))
        if isinstance(v, Violation)
    ]
    if (work.status, cancel.status) != ("succeeded", "cancelled"):
        trouble.append(f"the goals are {work.status} ({work.reason}) and {cancel.status}")
    patch = load_blob(work.selected.patch_id) if work.selected and work.selected.patch_id else b""
    calls = Call.objects.filter(kind=CallKind.LLM)
    return {
        "tree": hashlib.sha256(patch).hexdigest(),
        "trouble": trouble,
        "losses": sum(run.losses for run in work.runs.all()),
        "answered": calls.filter(status__in=(CallStatus.DONE, CallStatus.SUPERSEDED)).count(),
        "begun": calls.count(),
    }


def _left_on_the_host() -> list[str]:
    root = sandboxes.prepare_root(Path(settings.WORKSPACES_DIR))
    for folder in root.glob("box-*"):
        os.utime(folder, (0, 0))  # time passes: one that was only half made is not new any more
    sandboxes.sweep(root)
    left = [f"a sandbox is left: {folder.name}" for folder in root.glob("box-*")]
    return left + [f"process {pid} is left" for pid, _ in processes_in(root)]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--undisturbed", action="store_true")
    parser.add_argument("--ledger", type=Path, help="a folder")
    parser.add_argument("--wanted", type=Path, help="a file with the occurrences to die at, one a line")
    parser.add_argument("--seconds", type=float, default=0.0, help="begin no case later")
    asked = parser.parse_args()
    equipment.sandbox_provider()  # tried once, not in each life
    connection.close()
    if hasattr(connection, "close_pool"):
        connection.close_pool()  # its threads would not be there in a fork
    wanted = [] if asked.undisturbed else asked.wanted.read_text().splitlines()
    ends, n, goes_on = time.monotonic() + asked.seconds, 0, True
    while goes_on and (n == 0 or time.monotonic() < ends):
        n += 1
        ledger = None if asked.undisturbed else Ledger(asked.ledger, wanted if n > PLACES_FIRST else [])
        result = run_case(f"{asked.name} {n}", ledger)
        goes_on = not asked.undisturbed and (bool(result["died"]) or n <= PLACES_FIRST)
        print(json.dumps(result), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`make bench`: start the servers, then measure in a process of its own (Django reads its settings once, from the environment)."""

from __future__ import annotations

import subprocess
import sys

from bench.machine import BASE, machine


def main() -> int:
    with machine() as here:
        argv = [sys.executable, "-m", "bench.session", *sys.argv[1:]]
        return subprocess.run(argv, env=here.session(), cwd=BASE, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

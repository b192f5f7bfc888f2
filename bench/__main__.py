"""`make bench`: start the servers, then measure in a process of its own (Django reads its settings once, from the environment)."""

from __future__ import annotations

import subprocess
import sys

from bench.machine import BASE, machine


def main() -> int:
    module = "bench.profile" if "--profile" in sys.argv else "bench.session"
    with machine() as here:
        argv = [sys.executable, "-m", module, *(word for word in sys.argv[1:] if word != "--profile")]
        return subprocess.run(argv, env=here.session(), cwd=BASE, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

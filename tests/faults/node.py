"""A machine of the chaos suite: starts a worker again whenever it has ended, as systemd or a container's restart policy does.

`python -m tests.faults.node FOLDER SIGNAL` keeps FOLDER/worker.pid. When it is killed itself, its worker gets SIGNAL from the kernel.
SIGTERM is handed on, and then nothing is started again.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from orchestration.children import WORKER, bound_to_us

PAUSE = 0.2


def main() -> int:
    folder, farewell = Path(sys.argv[1]), signal.Signals[sys.argv[2]]
    worker: subprocess.Popen[bytes] | None = None
    ending = False

    def end(signum: int, frame: FrameType | None) -> None:
        nonlocal ending
        ending = True
        if worker is not None and worker.poll() is None:
            worker.terminate()

    signal.signal(signal.SIGTERM, end)
    with (folder / "worker.log").open("ab") as log:
        while not ending:
            argv = bound_to_us([*WORKER, "--loglevel=warning"], farewell)
            worker = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
            draft = folder / "draft.pid"
            draft.write_text(str(worker.pid))
            draft.replace(folder / "worker.pid")
            worker.wait()
            time.sleep(PAUSE)
    return 0


if __name__ == "__main__":
    sys.exit(main())

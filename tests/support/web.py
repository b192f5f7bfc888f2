"""The panel as a process of its own: uvicorn on a free port of 127.0.0.1."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.support.installation import BASE, until

ARGV = (
    *(sys.executable, "-m", "uvicorn", "compymac_site.asgi:application", "--host", "127.0.0.1", "--port", "0"),
    *("--timeout-graceful-shutdown", "3", "--lifespan", "off", "--no-access-log"),
)
RUNS = re.compile(r"Uvicorn running on (http://127\.0\.0\.1:\d+)")


class WebProcess:
    """`url` is where it answers; stopped with the stack that it is given."""

    def __init__(self, env: dict[str, str], folder: Path, stack: ExitStack) -> None:
        self.log = folder / "web.log"
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(
                ARGV, env=env, cwd=BASE, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )
        stack.callback(self.stop)
        assert until(lambda: RUNS.search(self.text) is not None, 60), self.text
        found = RUNS.search(self.text)
        assert found is not None
        self.url = found.group(1)

    @property
    def text(self) -> str:
        assert self.process.poll() is None, f"the panel has ended:\n{self.log.read_text()[-3000:]}"
        return self.log.read_text(errors="replace")

    def threads(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

"""Where an evaluation runs: a folder with a database of its own, so that its goals are among nobody's."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from agents.llm.demo_server import serve
from agents.llm.wrong_model import MODEL, WrongModel, answers_in

from ..children import NotStarted, bound_to_us
from ..errors import BadInput

NO_MODEL = (
    "no model is set: LLM_BASE_URL=… LLM_MODEL=… (see the README), or --scripted for a script that is wrong in 30 % of its "
    "attempts and approves everything"
)
# what leads to another installation
FOREIGN = ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL")


def new_folder(root: Path) -> Path:
    folder = root / f"{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}"
    (folder / "data").mkdir(parents=True)
    return folder


def run_inside(
    folder: Path, base: Path, words: Sequence[str], *, model: str = "", scripted: Scripted | None = None
) -> int:
    """`manage.py evaluate` with these words, in the folder's own installation; its exit code."""
    with ExitStack() as stack:
        env = _environment(folder, model)
        if scripted is not None:
            env |= stack.enter_context(scripted.served())
        elif not env.get("LLM_BASE_URL") and not env.get("VENICE_API_KEY"):
            raise BadInput(NO_MODEL)
        manage = [sys.executable, str(base / "manage.py")]
        made = subprocess.run(
            [*manage, "migrate", "--verbosity", "0"], env=env, cwd=base, capture_output=True, text=True, check=False
        )
        if made.returncode:
            raise NotStarted(f"the evaluation's database could not be made: {made.stderr.strip()[-500:]}")
        with (folder / "engine.log").open("w") as log:
            argv = bound_to_us([*manage, "evaluate", *words, "--inside", str(folder)])
            return subprocess.run(argv, env=env, stderr=log, check=False, stdin=subprocess.DEVNULL).returncode


def _environment(folder: Path, model: str) -> dict[str, str]:
    env = {
        **os.environ,
        "DATA_DIR": str(folder / "data"),
        "DATABASE_URL": f"sqlite:///{folder / 'data' / 'evaluation.sqlite3'}",
        "WORKSPACES_DIR": str(folder / "workspaces"),
        "DRAIN_SECONDS": "2",
        "PYTHONUNBUFFERED": "1",
        **{f"{name}_FILE": "" for name in FOREIGN},
    }
    for name in ("DJANGO_SETTINGS_MODULE", "CELERY_BROKER_URL", "REDIS_URL", "REPO_ROOTS"):
        env.pop(name, None)
    return env | ({"LLM_MODEL": model, "LLM_MODEL_FILE": ""} if model else {})


class Scripted:
    """The model that is wrong in a share of its attempts and approves everything, as a server of its own."""

    def __init__(self, suite: Path, share: float, seed: int, log: Path) -> None:
        self._answerer, self._log = WrongModel(answers_in(suite), share, seed), log

    @contextmanager
    def served(self) -> Iterator[dict[str, str]]:
        """The settings that lead to it."""
        server = serve(answerer=self._answerer, log=self._log)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            keys = dict.fromkeys(("LLM_API_KEY", "LLM_API_KEY_FILE", "VENICE_API_KEY", "VENICE_API_KEY_FILE"), "")
            files = dict.fromkeys(("LLM_BASE_URL_FILE", "LLM_MODEL_FILE"), "")
            yield {**keys, **files, "LLM_BASE_URL": server.url, "LLM_MODEL": MODEL, "LLM_TOOL_CALLS": "1"}
        finally:
            server.shutdown()
            server.server_close()

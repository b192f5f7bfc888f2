"""`make demo`: nothing of another installation is touched, and what an earlier demo left stays."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.demo import Demo
from tests.support.installation import BASE


@pytest.fixture
def base(open_folder: Path) -> Path:
    """A clone of its own, so that its `.demo/` is not ours."""
    for name in ("agents", "compymac_site", "examples", "orchestration"):
        shutil.copytree(BASE / name, open_folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(BASE / "manage.py", open_folder)
    return open_folder


@pytest.mark.services
@pytest.mark.long
def test_the_demo_runs_beside_another_installation_and_leaves_it_alone(base: Path) -> None:
    other = base / "other.url"
    other.write_text(f"sqlite:///{base / 'other.sqlite3'}")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("COMPYMAC", "DJANGO", "DATA"))}
    env |= {"DATABASE_URL_FILE": str(other), "REDIS_URL": "redis://127.0.0.1:1/0"}
    argv = [sys.executable, "manage.py", "demo"]
    done = subprocess.run(argv, cwd=base, env=env, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search("▸ Sandbox: (bubblewrap|landlock)$", done.stdout, re.M)
    assert "succeeded, verified" in done.stdout
    assert "goal apply" not in done.stdout + done.stderr, "that goal is gone with the demo's database"
    patch = Path(done.stdout.split("▸ Patch: ")[1].splitlines()[0])
    assert "def " in patch.read_text()
    assert not (base / "other.sqlite3").exists()


def test_what_an_earlier_demo_left_is_never_in_the_way(base: Path) -> None:
    demo = Demo(base, print)
    demo.folder.mkdir()
    assert demo._example().name == "repo-1"
    (demo.folder / "repo-1.patch").touch()
    (demo.folder / "repo-7.patch").touch()
    assert demo._example().name == "repo-8"

"""docs/api.md, run as it stands: its shell examples against a real server and a real worker."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from orchestration.models import Goal, RecurringGoal
from tests.support.installation import BASE, Installation
from tests.support.people import member
from tests.support.web import WebProcess

GUIDE = (BASE / "docs" / "api.md").read_text()
EXAMPLES = re.findall(r"```sh\n(.*?)```", GUIDE, re.S)


@pytest.mark.timeout(300)
def test_the_guides_examples_work_as_written(installation: Installation, open_folder: Path) -> None:
    """Only the address of the server and the Python's are other ones; the person's home is the test's folder."""
    member("ada", password="x")
    repo = installation.example("shop")
    installation.manage("repository", "add", str(repo))
    installation.worker()
    with ExitStack() as stack:
        web = WebProcess(installation.env, open_folder, stack)
        script = "\n".join(["set -euo pipefail", *EXAMPLES])
        script = script.replace("http://127.0.0.1:8000", web.url).replace(
            ".venv/bin/python manage.py", f"{sys.executable} {BASE}/manage.py"
        )
        (open_folder / "curl").mkdir()
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=open_folder / "curl",
            env=installation.env | {"HOME": str(open_folder)},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}\n{installation.logs()}"
    goal = Goal.objects.get(retry_of=None)
    assert (goal.status, goal.verified, goal.submitted_by.username) == ("succeeded", True, "ada")
    assert "event: changed" in done.stdout
    assert "event: ended" in done.stdout
    assert Goal.objects.get(retry_of=goal).status in ("cancelling", "cancelled")
    assert RecurringGoal.objects.get().cron == "30 2 * * *"
    assert len(EXAMPLES) >= 7

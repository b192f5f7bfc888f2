"""What a process never uses, it does not import: a worker is 73 MB, and was 105."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.support.installation import BASE

IMPORT = """
import json, sys
import compymac_site.__main__
from compymac_site.celery import app
app.loader.import_default_modules()
app.finalize()
json.dump(sorted(sys.modules), sys.stdout)
"""


@pytest.fixture(scope="module")
def imported() -> set[str]:
    """By a worker or beat on SQLite, until it is ready to work."""
    env = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "CELERY_SKIP_CHECKS")}
    done = subprocess.run([sys.executable, "-c", IMPORT], cwd=BASE, env=env, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    "unused",
    [
        *("orchestration.urls", "orchestration.views", "orchestration.api", "orchestration.admin", "uvicorn"),
        *("rest_framework.views", "drf_spectacular.openapi"),
        *("celery.bin.celery", "prompt_toolkit", "flower", "psycopg", "genai_prices", "httpx2"),
    ],
)
def test_a_worker_imports_no_pages_no_api_no_admin_and_no_other_command(imported: set[str], unused: str) -> None:
    assert "orchestration.runtime" in imported
    assert unused not in imported

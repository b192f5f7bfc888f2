"""The settings of tests: the project's own, on a temporary folder, never on a person's data or `.env`."""

import os
import tempfile
from pathlib import Path

# A worker process of a test, and each process of pytest-xdist, inherits the folder of the first.
_FOLDER = Path(os.environ.setdefault("COMPYMAC_TEST_DIR", tempfile.mkdtemp(prefix="compymac-test-", dir="/tmp")))
_FOLDER.chmod(0o711)  # the sandboxes below it have a user of their own
for _name in (
    "LLM_BASE_URL",
    "LLM_MODEL",
    "LLM_API_KEY",
    "VENICE_API_KEY",
    "REPO_ROOTS",
    "SANDBOX",
    "LOCALE2B_BASE_URL",
    "LOCALE2B_API_KEY",
    "CELERY_BROKER_URL",
):
    os.environ.pop(_name, None)
os.environ |= {
    "ENV_FILE": str(_FOLDER / "none.env"),
    "DATA_DIR": str(_FOLDER / f"data-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"),
    "REDIS_URL": "redis://127.0.0.1:1/0",  # nobody answers there: a test that needs a Redis starts its own
    "SECRET_KEY": "only-for-tests",
}

from compymac_site.settings import *  # noqa: E402, F403
from compymac_site.settings import DATA_DIR, DATABASES  # noqa: E402

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, since an SQLite database in memory is another one in each thread.
    DATABASES["default"]["TEST"] = {"NAME": str(DATA_DIR / "test.sqlite3")}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

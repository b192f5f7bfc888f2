"""What all tests share. Servers are real; whoever needs one starts it (tests/support) and stops it by its pid."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that a sandbox's own user may pass through (pytest's tmp_path is closed to others)."""
    folder = Path(tempfile.mkdtemp(prefix="compymac-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def pytest_unconfigure(config: pytest.Config) -> None:
    """The folder of tests.settings goes with the process that made it."""
    if "PYTEST_XDIST_WORKER" not in os.environ and (folder := os.environ.pop("COMPYMAC_TEST_DIR", "")):
        shutil.rmtree(folder, ignore_errors=True)

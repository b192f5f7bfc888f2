"""Real sandboxes of both local providers. A host that cannot start one fails here, with the cause and the remedy."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agents.ports import Sandbox, SandboxProvider, SandboxSpec
from agents.sandbox.files import remove_tree
from agents.sandbox.registry import choose
from tests.support.locale2b_server import Locale2bServer

SMALL = SandboxSpec(label="test", memory_mib=1024, processes=64, disk_mib=64)


@pytest.fixture(scope="session")
def root() -> Iterator[Path]:
    """Not pytest's own folder: a sandbox's user must be able to pass all that lies above its workspace."""
    folder = Path(tempfile.mkdtemp(prefix="compymac-test-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["bubblewrap", "landlock"], scope="session")
def provider(request: pytest.FixtureRequest, root: Path) -> SandboxProvider:
    return choose(request.param, root=root)


@pytest.fixture(scope="session")
def service() -> Iterator[Locale2bServer]:
    """A locale2b service for tests that do it no harm."""
    server = Locale2bServer()
    yield server
    server.stop()


@pytest.fixture
def open_box(provider: SandboxProvider) -> Iterator[Callable[..., Sandbox]]:
    opened: list[Sandbox] = []

    def open_one(spec: SandboxSpec = SMALL) -> Sandbox:
        opened.append(provider.open(spec))
        return opened[-1]

    yield open_one
    for box in opened:
        box.close()


@pytest.fixture
def sandbox(open_box: Callable[..., Sandbox]) -> Sandbox:
    return open_box()


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder of the host that only its mode would let everybody into."""
    folder = Path(tempfile.mkdtemp(prefix="compymac-host-", dir="/tmp"))
    folder.chmod(0o777)
    yield folder
    remove_tree(folder)


@pytest.fixture
def mark() -> str:
    """Digits that no other process on this host has in its command line."""
    return str(uuid.uuid4().int)[:15]

"""What the agents' tests share: a real sandbox, and the demo model behind real HTTP."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.llm.demo_server import DemoServer, serve
from agents.ports import Sandbox, SandboxProvider, SandboxSpec
from agents.sandbox.registry import choose


@pytest.fixture(scope="session")
def real_provider() -> Iterator[SandboxProvider]:
    """Not below pytest's own folder: a sandbox's user must be able to pass all that lies above it."""
    folder = Path(tempfile.mkdtemp(prefix="compymac-agents-", dir="/tmp"))
    folder.chmod(0o711)
    yield choose("auto", root=folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def box(real_provider: SandboxProvider) -> Iterator[Sandbox]:
    sandbox = real_provider.open(SandboxSpec(label="agents-test"))
    yield sandbox
    sandbox.close()


@pytest.fixture
def demo_server() -> Iterator[DemoServer]:
    server = serve()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()

"""Real sandboxes of both local providers, and real repositories on the host. A host that cannot start one fails here."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from person import Opened, Person

from agents.ports import Sandbox, SandboxProvider, SandboxSpec
from agents.sandbox.files import remove_tree
from agents.sandbox.registry import choose
from agents.source import read_source
from agents.workspace import Workspace


@pytest.fixture(scope="session")
def root() -> Iterator[Path]:
    """Not pytest's own folder: a sandbox's user must be able to pass all that lies above its workspace."""
    folder = Path(tempfile.mkdtemp(prefix="compymac-git-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["bubblewrap", "landlock"], scope="session")
def provider(request: pytest.FixtureRequest, root: Path) -> SandboxProvider:
    return choose(request.param, root=root)


@pytest.fixture(scope="session")
def quick(root: Path) -> SandboxProvider:
    """For what does not depend on the kind of sandbox."""
    return choose("auto", root=root)


@pytest.fixture
def open_box(provider: SandboxProvider) -> Iterator[Callable[[], Sandbox]]:
    opened: list[Sandbox] = []

    def open_one() -> Sandbox:
        opened.append(provider.open(SandboxSpec(label="test")))
        return opened[-1]

    yield open_one
    for box in opened:
        box.close()


@pytest.fixture
def host() -> Iterator[Path]:
    """A folder of the host that nobody but its owner can enter, as a home is."""
    folder = Path(tempfile.mkdtemp(prefix="compymac-person-", dir="/tmp"))
    yield folder
    remove_tree(folder)


@pytest.fixture
def person(host: Path) -> Person:
    """Somebody with a repository of three files and two commits."""
    return Person(host / "project").begin()


@pytest.fixture
def at_base(provider: SandboxProvider, open_box: Callable[[], Sandbox], person: Person) -> Callable[[], Opened]:
    """A fresh workspace at the person's HEAD, as often as asked."""

    def open_one() -> Opened:
        source = read_source(provider, person.path, "HEAD")
        box = open_box()
        workspace = Workspace(box)
        workspace.open(source.bundle, None, source.sha)
        return workspace, box, source

    return open_one

"""For people's own scripts: the model of the environment, and a sandbox over a folder of theirs."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import Permanent
from .llm.registry import LLMClient
from .ports import LLM, Command, Sandbox, SandboxSpec
from .sandbox.registry import choose

LARGEST = 256 * 1024 * 1024


def default_llm() -> LLM:
    """The model that LLM_BASE_URL, LLM_MODEL and LLM_API_KEY name."""
    return LLMClient()


@dataclass(frozen=True, slots=True)
class Opened:
    sandbox: Sandbox
    folder: Path | None

    def copy_back(self) -> None:
        """The changed and new files into the person's folder, never through a link and never into `.git`."""
        if self.folder is None:
            return
        packed = self.sandbox.run(Command('tar --exclude=./.git -cf "$VAULT/result.tar" .', timeout=300, vault=True))
        if not packed.ok:
            raise Permanent(f"the result could not be packed: {packed.stderr[-300:]}")
        with tarfile.open(fileobj=io.BytesIO(self.sandbox.read("vault:result.tar", LARGEST))) as archive:
            archive.extractall(self.folder, filter="data")


@contextmanager
def workspace_sandbox(folder: str | Path | None) -> Iterator[Opened]:
    """A local sandbox with a copy of the folder's files (or empty), gone afterwards."""
    path = Path(folder).resolve() if folder is not None else None
    if path is not None and not path.is_dir():
        raise Permanent(f"there is no folder {str(path)!r} to work in")
    with tempfile.TemporaryDirectory(prefix="compymac-", dir=tempfile.gettempdir()) as root:
        sandbox = choose(os.environ.get("SANDBOX", "auto"), root=Path(root)).open(SandboxSpec(label="script"))
        try:
            if path is not None:
                sandbox.write("vault:workspace.tar", _packed(path))
                sandbox.run(Command('tar -xf "$VAULT/workspace.tar"', timeout=300, vault=True))
            yield Opened(sandbox, path)
        finally:
            sandbox.close()


def _packed(path: Path) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        archive.add(path, arcname=".", filter=lambda entry: None if entry.name.startswith("./.git/") else entry)
    if data.tell() > LARGEST:
        raise Permanent(f"{path} is larger than {LARGEST // (1024 * 1024)} MiB")
    return data.getvalue()

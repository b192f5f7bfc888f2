"""For people's own scripts: the model of the environment, and a sandbox over a copy of a folder of theirs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import Permanent
from .folder import LARGEST, Packed, pack, put_back
from .llm.registry import LLMClient
from .ports import LLM, Command, Sandbox, SandboxSpec
from .sandbox.registry import choose


def default_llm() -> LLM:
    """The model that LLM_BASE_URL, LLM_MODEL and LLM_API_KEY name."""
    return LLMClient()


@dataclass(frozen=True, slots=True)
class Opened:
    """A sandbox; with a folder, one that holds a copy of its files."""

    sandbox: Sandbox
    folder: Path | None = None
    packed: Packed | None = None

    def copy_back(self) -> list[str]:
        """What changed in the sandbox, into the person's folder. Returns the names."""
        if self.folder is None or self.packed is None:
            return []
        made = self.sandbox.run(Command('tar --exclude=.git -cf "$VAULT/result.tar" .', timeout=300, vault=True))
        if not made.ok:
            raise Permanent(f"the result could not be packed: {made.output[-300:]}")
        return put_back(self.folder, self.packed, self.sandbox.read("vault:result.tar", 2 * LARGEST))


@contextmanager
def workspace_sandbox(folder: str | Path | None) -> Iterator[Opened]:
    """A local sandbox with a copy of the folder's files (or empty), gone afterwards."""
    path = Path(folder).resolve() if folder is not None else None
    if path is not None and not path.is_dir():
        raise Permanent(f"there is no folder {str(path)!r} to work in")
    packed = pack(path) if path is not None else None
    with tempfile.TemporaryDirectory(prefix="compymac-") as root:
        provider = choose(os.environ.get("SANDBOX", "auto"), root=Path(root), remote=os.environ)
        sandbox = provider.open(SandboxSpec(label="script"))
        try:
            if packed is not None:
                _unpack(sandbox, packed)
            yield Opened(sandbox, path, packed)
        finally:
            sandbox.close()


def _unpack(sandbox: Sandbox, packed: Packed) -> None:
    sandbox.write("vault:workspace.tar", packed.tar)
    made = sandbox.run(Command('tar -xf "$VAULT/workspace.tar"', timeout=300, vault=True))
    if not made.ok:
        raise Permanent(f"the folder could not be copied into the sandbox: {made.output[-300:]}")

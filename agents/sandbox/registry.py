"""Which sandbox: locale2b where its address is set, else bubblewrap → Landlock by a real trial; or the one that a setting names."""

from __future__ import annotations

import os
import pkgutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ..errors import AgentError, Permanent
from ..ports import Command, SandboxProvider, SandboxSpec
from .diagnosis import diagnose, facts_of_this_host
from .local import left_folders, sweep_folders
from .locale2b import options
from .locale2b.provider import Locale2bProvider

KNOWN = {  # in the order in which "auto" tries them
    "bubblewrap": "agents.sandbox.bubblewrap:BubblewrapProvider",
    "landlock": "agents.sandbox.landlock:LandlockProvider",
}


@dataclass(frozen=True, slots=True)
class Probe:
    """One provider's trial on this host."""

    name: str
    ok: bool
    cause: str = ""
    remedy: str = ""
    layers: tuple[str, ...] = ()


REMOTE = "locale2b"


def choose(
    name: str,
    *,
    root: Path,
    parallel: int | None = None,
    remote: Mapping[str, str] | None = None,
    installation: str = "local",
) -> SandboxProvider:
    """The provider that a setting names, or with "auto" the first of the chain that works. Raises Permanent with cause and remedy.

    `remote` holds the LOCALE2B_ settings. A service that is set is taken without a trial and never left for a local sandbox: it may
    be away for a moment, and a run waits for it.
    """
    check(name, remote or {})
    root = prepare_root(root)
    if is_remote(name, remote or {}):
        return Locale2bProvider(options.from_environment(remote or {}, installation), root / "scratch")
    tried = []
    for candidate in KNOWN if name == "auto" else (name,):
        found = probe(candidate, root)
        if found.ok:
            return _provider(candidate)(root, parallel)
        tried.append(f"{candidate}: {found.cause}. {found.remedy}")
    raise Permanent("\n".join(("no sandbox can be had here, and nothing runs without one.", *tried)))


def check(name: str, remote: Mapping[str, str]) -> None:
    """Raises Permanent for a setting that cannot be, without looking at any sandbox."""
    if name not in ("auto", *KNOWN, REMOTE):
        raise Permanent(f"SANDBOX={name} is not known; there are auto, {', '.join(KNOWN)}, {REMOTE}")
    if is_remote(name, remote):
        options.from_environment(remote)


def is_remote(name: str, remote: Mapping[str, str]) -> bool:
    return name == REMOTE or (name == "auto" and options.is_configured(remote))


def probe(name: str, root: Path) -> Probe:
    """A real trial: open a sandbox and run a command in it."""
    try:
        provider = _provider(name)(prepare_root(root), None)
        box = provider.open(SandboxSpec(label="trial"))
        try:
            result = box.run(Command("test -w . && echo works", timeout=20))
        finally:
            box.close()
    except (AgentError, OSError) as error:
        return Probe(name, False, *diagnose(name, str(error), facts_of_this_host()))
    if not result.ok or "works" not in result.stdout:
        return Probe(name, False, *diagnose(name, result.output, facts_of_this_host()))
    return Probe(name, True, layers=provider.layers)


def _provider(name: str) -> Callable[[Path, int | None], SandboxProvider]:
    found: Callable[[Path, int | None], SandboxProvider] = pkgutil.resolve_name(KNOWN[name])
    return found


def prepare_root(root: Path) -> Path:
    """The folder for sandboxes. A worker that is root gives each its own user, who must be able to pass all folders above it.

    Where that user could not (below /root, say), a folder in the host's temporary folder takes its place.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        said = f"the folder for sandboxes cannot be made ({error}): set WORKSPACES_DIR, or another DATA_DIR"
        raise Permanent(said) from error
    root = root.resolve()
    if os.getuid() == 0 and any(not parent.stat().st_mode & 0o001 for parent in root.parents):
        root = Path(tempfile.gettempdir()) / f"compymac-{sha256(str(root).encode()).hexdigest()[:12]}"
        root.mkdir(exist_ok=True)
        if root.is_symlink() or root.stat().st_uid != 0:
            raise Permanent(f"{root} belongs to somebody else: remove it, or choose another DATA_DIR")
    scratch = root / "scratch"
    scratch.mkdir(exist_ok=True)
    for folder in (root, scratch):
        folder.chmod(0o711)
    return root


def sweep(root: Path) -> int:
    """Remove what workers that were killed have left in a folder for sandboxes. How many there were."""
    return sweep_folders(prepare_root(root))


def left_behind(root: Path) -> list[Path]:
    """The folders that `sweep` would remove."""
    return left_folders(prepare_root(root))

"""Which sandbox: the chain bubblewrap → Landlock by a real trial, or the one that a setting names. And why one cannot start here."""

from __future__ import annotations

import fcntl
import os
import platform
import re
import sys
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ..errors import AgentError, Permanent
from ..ports import Command, SandboxProvider, SandboxSpec
from .bubblewrap import BubblewrapProvider
from .files import remove_tree
from .landlock import LandlockProvider

KNOWN: dict[str, type[BubblewrapProvider] | type[LandlockProvider]] = {
    "bubblewrap": BubblewrapProvider,
    "landlock": LandlockProvider,
}

APPARMOR_PROFILE = """\
sudo tee /etc/apparmor.d/bwrap >/dev/null <<'PROFILE'
abi <abi/4.0>,
include <tunables/global>
profile bwrap /usr/bin/bwrap flags=(unconfined) {
  userns,
  include if exists <local/bwrap>
}
PROFILE
sudo apparmor_parser -r /etc/apparmor.d/bwrap"""


@dataclass(frozen=True, slots=True)
class Probe:
    """One provider's trial on this host."""

    name: str
    ok: bool
    cause: str = ""
    remedy: str = ""
    layers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Platform:
    """What the diagnosis needs to know of the host."""

    system: str = "linux"
    wsl1: bool = False
    container: bool = False
    apparmor_restricts: bool = False
    max_user_namespaces: int | None = None
    unprivileged_clone: int | None = None


def choose(name: str, *, root: Path, parallel: int | None = None) -> SandboxProvider:
    """The provider that a setting names, or with "auto" the first of the chain that works. Raises Permanent with cause and remedy."""
    if name != "auto" and name not in KNOWN:
        raise Permanent(f"SANDBOX={name} is not known; there are auto, {', '.join(KNOWN)}")
    root = prepare_root(root)
    tried = []
    for candidate in KNOWN if name == "auto" else (name,):
        found = probe(candidate, root)
        if found.ok:
            return KNOWN[candidate](root, parallel)
        tried.append(f"{candidate}: {found.cause}. {found.remedy}")
    raise Permanent("no sandbox can be had here, and nothing runs without one. " + " ".join(tried))


def probe(name: str, root: Path) -> Probe:
    """A real trial: open a sandbox and run a command in it."""
    facts = facts_of_this_host()
    try:
        box = KNOWN[name](prepare_root(root)).open(SandboxSpec(label="trial"))
        try:
            result = box.run(Command("test -w . && echo works", timeout=20))
        finally:
            box.close()
    except (AgentError, OSError, ImportError) as error:
        return Probe(name, False, *diagnose(name, str(error), facts))
    if not result.ok or "works" not in result.stdout:
        return Probe(name, False, *diagnose(name, result.stderr or result.stdout, facts))
    return Probe(name, True, layers=KNOWN[name].layers)


def diagnose(name: str, said: str, facts: Platform) -> tuple[str, str]:
    """PURE: (cause, remedy) from what the trial said and what the host is."""
    if facts.system != "linux":
        return (
            f"{name} needs Linux",
            "On macOS run panel and Redis here, and the steps on a Linux worker or by locale2b.",
        )
    if facts.wsl1:
        return "this is WSL 1, which has no Linux kernel", "Convert the distribution: wsl --set-version <name> 2"
    if found := re.search(r"(\w+) is not installed: (apt-get install \S+)", said):
        return f"{found[1]} is not installed", found[2]
    if "seccomp" in said and ("libseccomp" in said or "Unable to find" in said):
        return "libseccomp is not installed", "apt-get install libseccomp2"
    if name == "landlock" and ("no Landlock" in said or "landlock" in said):
        return (
            "the kernel has no Landlock (Linux ≥ 5.13 with it switched on)",
            "Use a newer kernel, or user namespaces for bubblewrap.",
        )
    if "uid map: Permission denied" in said or "RTM_NEWADDR" in said or facts.apparmor_restricts:
        return (
            "AppArmor restricts user namespaces (Ubuntu 23.10 and later)",
            f"Allow them to bwrap alone:\n{APPARMOR_PROFILE}",
        )
    if "Resource temporarily unavailable" in said:
        return "the user's limit of processes is reached", "Raise it (ulimit -u), or end some processes."
    if "nknown option" in said:
        return "bubblewrap is older than 0.8", "apt-get install bubblewrap (or a newer release of the system)"
    return _namespaces(said, facts)


def _namespaces(said: str, facts: Platform) -> tuple[str, str]:
    refused = (
        "No permissions to create" in said or "Operation not permitted" in said or "Creating new namespace" in said
    )
    if facts.max_user_namespaces == 0:
        return "user namespaces are switched off", "sysctl user.max_user_namespaces=15000 (and in /etc/sysctl.d)"
    if facts.unprivileged_clone == 0:
        return "user namespaces are for root only", "sysctl kernel.unprivileged_userns_clone=1 (and in /etc/sysctl.d)"
    if refused and facts.container:
        return (
            "the container's seccomp profile refuses new namespaces",
            "Start it with a profile that allows them (docker run --security-opt seccomp=…), or use the second provider.",
        )
    return said.strip()[-300:] or "the trial printed nothing", "Run `manage.py doctor --sandbox` for the details."


def facts_of_this_host() -> Platform:
    kernel = platform.release().lower()
    container = Path("/.dockerenv").exists() or Path("/run/.containerenv").exists() or "container" in os.environ
    return Platform(
        system=sys.platform,
        wsl1="microsoft" in kernel and "wsl2" not in kernel and "microsoft-standard" not in kernel,
        container=container,
        apparmor_restricts=_number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1 and os.getuid() != 0,
        max_user_namespaces=_number("/proc/sys/user/max_user_namespaces"),
        unprivileged_clone=_number("/proc/sys/kernel/unprivileged_userns_clone"),
    )


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None


def prepare_root(root: Path) -> Path:
    """The folder for sandboxes. A worker that is root gives each its own user, who must be able to pass all folders above it."""
    root = root.absolute()
    root.mkdir(parents=True, exist_ok=True)
    if os.getuid() == 0 and any(not parent.stat().st_mode & 0o001 for parent in root.parents):
        root = Path(tempfile.gettempdir()) / f"compymac-{sha256(str(root).encode()).hexdigest()[:12]}"
        root.mkdir(exist_ok=True)
    root.chmod(0o711)
    scratch = root / "scratch"
    scratch.mkdir(exist_ok=True)
    scratch.chmod(0o711)
    return root


def sweep(root: Path) -> int:
    """Remove what workers that were killed have left; a living one holds the lock of its folder. How many there were."""
    removed = 0
    for folder in prepare_root(root).glob("box-*"):
        try:
            fd = os.open(folder / "owner", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_tree(folder)
            removed += 1
        except OSError:
            pass
        finally:
            os.close(fd)
    return removed

"""Why a sandbox cannot start on this host, and what to do about it: from what the trial said and a few facts. See reference §8."""

from __future__ import annotations

import os
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path

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
class Platform:
    """What the diagnosis needs to know of the host."""

    system: str = "linux"
    wsl1: bool = False
    container: bool = False
    apparmor_restricts: bool = False
    max_user_namespaces: int | None = None
    unprivileged_clone: int | None = None


def diagnose(name: str, said: str, facts: Platform) -> tuple[str, str]:
    """PURE: (cause, remedy). What the trial said comes before what the host could be suspected of."""
    return _no_linux(name, facts) or _in_its_words(said) or _no_namespaces(said, facts) or _unknown(said)


def _no_linux(name: str, facts: Platform) -> tuple[str, str] | None:
    if facts.system != "linux":
        return (
            f"{name} needs Linux",
            "Run panel and Redis here, and the worker in a Linux machine (VM, container host or server).",
        )
    if facts.wsl1:
        return "this is WSL 1, which has no Linux kernel", "Convert the distribution: wsl --set-version <name> 2"
    return None


def _in_its_words(said: str) -> tuple[str, str] | None:
    if found := re.search(r"(\S+) is not installed: (apt-get install \S+)", said):
        return f"{found[1]} is not installed", found[2]
    if "no Landlock" in said:
        return (
            "the kernel has no Landlock",
            "Boot Linux ≥ 5.13 with lsm=landlock,… or allow user namespaces, for bubblewrap.",
        )
    if "Resource temporarily unavailable" in said:
        return "the user's limit of processes is reached", "Raise it (ulimit -u), or end some processes."
    if "nknown option" in said:
        return "bubblewrap is older than 0.8", "apt-get install bubblewrap, from a newer release of the system"
    return None


def _no_namespaces(said: str, facts: Platform) -> tuple[str, str] | None:
    by_apparmor = "uid map: Permission denied" in said or "RTM_NEWADDR" in said
    refused = (
        "No permissions to create" in said or "Creating new namespace" in said or "Operation not permitted" in said
    )
    if not by_apparmor and not refused:
        return None
    if facts.max_user_namespaces == 0:
        return "user namespaces are switched off", "sysctl user.max_user_namespaces=15000 (and in /etc/sysctl.d)"
    if facts.unprivileged_clone == 0:
        return "user namespaces are for root only", "sysctl kernel.unprivileged_userns_clone=1 (and in /etc/sysctl.d)"
    if by_apparmor or facts.apparmor_restricts:
        return (
            "AppArmor restricts user namespaces (Ubuntu 23.10 and later)",
            f"Allow them to bwrap alone:\n{APPARMOR_PROFILE}",
        )
    if facts.container:
        return (
            "the container's seccomp profile refuses new namespaces",
            "Give it a profile that allows them (docker run --security-opt seccomp=<profile>), or use SANDBOX=landlock.",
        )
    return (
        "the kernel refuses new namespaces",
        "Look for a policy that forbids them (SELinux, seccomp), or use SANDBOX=landlock.",
    )


def _unknown(said: str) -> tuple[str, str]:
    return said.strip()[
        -300:
    ] or "the trial printed nothing", "No known cause: run the trial by hand and read its message."


def facts_of_this_host() -> Platform:
    kernel = platform.release().lower()
    return Platform(
        system=sys.platform,
        wsl1="microsoft" in kernel and "wsl2" not in kernel and "microsoft-standard" not in kernel,
        container=any(map(os.path.exists, ("/.dockerenv", "/run/.containerenv"))) or "container" in os.environ,
        apparmor_restricts=_number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1 and os.getuid() != 0,
        max_user_namespaces=_number("/proc/sys/user/max_user_namespaces"),
        unprivileged_clone=_number("/proc/sys/kernel/unprivileged_userns_clone"),
    )


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None

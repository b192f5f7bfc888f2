"""All that a command finds in its environment: nothing of the worker's own, except where set-up commands find their package index."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ..ports import Command, SandboxSpec

BASE_PATH = ("/usr/local/bin", "/usr/bin", "/bin")
FIXED = {
    "LANG": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
}
# where package installers find their index and its certificates on this host; a value with credentials in it is not passed
INSTALLER_VARIABLES = (
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "PIP_CERT",
    "PIP_DEFAULT_TIMEOUT",
    "NPM_CONFIG_REGISTRY",
    "SSL_CERT_FILE",
)


def environment(
    spec: SandboxSpec,
    command: Command,
    *,
    workspace: str,
    vault: str,
    home: str,
    tmp: str,
    seen_at: Callable[[str], str] = str,
) -> dict[str, str]:
    """The variables of one command. `seen_at` says where a place inside really is; `MOUNT_<NAME>` tells it of a read-only folder."""
    env = FIXED | {"HOME": home, "TMPDIR": tmp, "PWD": workspace}
    env["PATH"] = ":".join(seen_at(place) for place in (*spec.path, *BASE_PATH))
    for inside in spec.readonly:
        if (name := Path(inside).name).isalpha():
            env[f"MOUNT_{name.upper()}"] = seen_at(inside)
    if command.vault:
        env["VAULT"] = vault
    if command.network:
        env |= {name: os.environ[name] for name in INSTALLER_VARIABLES if "@" not in os.environ.get(name, "@")}
    return env

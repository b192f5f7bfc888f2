"""What stands in front of every command: system tools by absolute path, a user id without rights, and resource limits."""

from __future__ import annotations

import os
import shutil
import signal

from ..errors import Permanent
from ..ports import SandboxSpec

MIB = 1024 * 1024
PACKAGES = {"bwrap": "bubblewrap", "setpriv": "util-linux", "prlimit": "util-linux"}
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def find_tool(name: str) -> str:
    """The absolute path of a system tool, never from the current directory. Raises Permanent with the package to install."""
    found = shutil.which(name, path=SYSTEM_PATH)
    if found is None:
        raise Permanent(f"{name} is not installed: apt-get install {PACKAGES.get(name, name)}")
    return found


def drop_root(uid: int) -> list[str]:
    """`setpriv` when this process is root: a user id of its own for the sandbox, no groups, no new privileges."""
    if os.getuid() != 0:
        return []
    return [find_tool("setpriv"), f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs"]


def resource_limits(spec: SandboxSpec, timeout: float) -> list[str]:
    """`prlimit` for the whole chain; the number of processes is limited inside (see reference §2).

    Processor time is a backstop behind the clock; its hard limit is later than the soft one, since only the soft one says SIGXCPU.
    """
    seconds = int(timeout * (os.cpu_count() or 1)) + 10
    return [
        find_tool("prlimit"),
        f"--fsize={spec.disk_mib * MIB}",
        "--nofile=1024",
        "--core=0",
        f"--cpu={seconds}:{seconds + 5}",
        "--memlock=65536",
        f"--as={spec.memory_mib * MIB}",
    ]


def limit_of(code: int, spec: SandboxSpec) -> str:
    """Which resource limit an exit code tells of, with its number."""
    named = {
        128 + signal.SIGXCPU: "processor time",
        128 + signal.SIGXFSZ: f"one file larger than {spec.disk_mib} MiB",
    }
    return named.get(code, "")

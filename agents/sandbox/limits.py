"""What stands in front of every command: what can be none, system tools by absolute path, a user without rights, resource limits."""

from __future__ import annotations

import os
import shutil
import signal

from ..errors import Permanent
from ..ports import SandboxSpec

MIB = 1024 * 1024
LONGEST_SCRIPT = 128 * 1024 - 1  # the kernel's limit for one argument
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


def refusal(script: str) -> str:
    """Why a text cannot be a command at all; the model is told as by a shell."""
    if "\0" in script:
        return "the command has a NUL character in it"
    try:
        length = len(os.fsencode(script))
    except UnicodeEncodeError:
        return "the command has characters that are not valid Unicode"
    if length > LONGEST_SCRIPT:
        return f"the command has {length} bytes and may have {LONGEST_SCRIPT}: write a file and run that"
    return ""

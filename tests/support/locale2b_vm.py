"""A stand-in for a microVM: a bubblewrap with its own /workspace and /tmp, and an agent in it that has the real one's faults."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agents.sandbox.files import remove_tree
from tests.support.locale2b_rules import Refused

GUEST = Path(__file__).with_name("locale2b_guest.py")
CAPABILITIES = ("SETUID", "SETGID", "CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL")
GUEST_USER = 1000 if os.getuid() == 0 else 0  # an ordinary user's stand-in VM has one user only


class Machine:
    """One stand-in VM."""

    def __init__(self, body: Mapping[str, Any], spawn: Callable[..., subprocess.Popen[str]]) -> None:
        self.id = uuid.uuid4().hex[:8]
        self.status = "running"
        self.memory_mb, self.vcpus = body.get("memory_mb") or 512, body.get("vcpu_count") or 1
        self.label = body.get("workspace_id") or self.id
        self.template = body.get("template", "default")
        self.created_at = datetime.now(UTC).replace(tzinfo=None)
        self.folder = Path(tempfile.mkdtemp(prefix="locale2b-vm-", dir="/tmp"))
        for name, mode in (("workspace", 0o755), ("tmp", 0o777), ("etc", 0o755)):
            (self.folder / name).mkdir()
            (self.folder / name).chmod(mode)
        for name in ("passwd", "group"):
            (self.folder / "etc" / name).write_text(
                "root:x:0:0::/root:/bin/sh\n" if name == "passwd" else "root:x:0:\n"
            )
        self.process = spawn(_argv(self.folder))
        assert self.process.stdout is not None
        said = self.process.stdout.readline()  # killed before that, a bubblewrap would leave its half behind
        assert said == "ready\n", f"the stand-in VM did not start: {said!r}"

    def ask(self, **order: Any) -> dict[str, Any]:
        """Raises Refused as the service does when nobody answers in the VM."""
        if self.process.poll() is not None:
            raise Refused(500, "Broken pipe")
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except OSError as error:
            raise Refused(500, f"Broken pipe: {error}") from error
        if not line:
            raise Refused(500, "Connection closed")
        said: dict[str, Any] = json.loads(line)
        if "fault" in said:
            raise Refused(500, said["fault"])
        return said

    def die(self) -> None:
        self.process.kill()
        self.process.wait()

    def remove(self) -> None:
        self.die()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        remove_tree(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)

    def told(self) -> dict[str, Any]:
        return {
            "sandbox_id": self.id,
            "status": self.status,
            "template": self.template,
            "memory_mb": self.memory_mb,
            "vcpu_count": self.vcpus,
            "workspace_id": self.label,
            "created_at": self.created_at.isoformat(),
            "ip_address": None,
        }


def _argv(folder: Path) -> list[str]:
    """Root's VM has users; without user namespaces of its own, so that they are real ones."""
    rights = [word for name in CAPABILITIES for word in ("--cap-add", f"CAP_{name}")]
    user = ["--cap-drop", "ALL", *rights] if os.getuid() == 0 else ["--unshare-user", "--uid", "0", "--gid", "0"]
    options = [
        *user,
        "--unshare-pid",
        "--unshare-net",
        "--unshare-ipc",
        "--unshare-uts",
        "--die-with-parent",
        "--new-session",
    ]
    options += ["--clearenv", "--setenv", "PATH", "/usr/local/bin:/usr/bin:/bin", "--setenv", "HOME", "/root"]
    options += ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib64"):
        if Path("/", name).is_symlink():
            options += ["--symlink", f"usr/{name}", f"/{name}"]
        elif Path("/", name).is_dir():
            options += ["--ro-bind", f"/{name}", f"/{name}"]
    options += ["--bind", str(folder / "etc"), "/etc", "--ro-bind-try", "/etc/alternatives", "/etc/alternatives"]
    options += [
        "--ro-bind-try",
        "/etc/ld.so.cache",
        "/etc/ld.so.cache",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--dir",
        "/root",
    ]
    options += ["--bind", str(folder / "workspace"), "/workspace", "--bind", str(folder / "tmp"), "/tmp"]
    options += ["--ro-bind", str(GUEST), "/agent.py", "--chdir", "/"]
    return ["bwrap", *options, "--", "/usr/bin/python3", "-I", "-S", "/agent.py"]

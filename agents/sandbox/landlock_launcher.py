"""Run by `python -I` with two descriptors (order in, status out): confine a child by Landlock and seccomp, outlive its descendants.

It imports nothing of ours: it is copied next to the workspace and runs as the sandbox's user. Every command pays for its start, so
it also leaves out what only makes code nicer (pathlib, contextlib, typing: 14 ms of 45).
"""
# ruff: noqa: PTH112, PTH123, PTH208, SIM105

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import struct
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

LIBC = ctypes.CDLL(None, use_errno=True)
CREATE, ADD, RESTRICT = 444, 445, 446
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 1, 36, 38, 22
READ = 1 << 0 | 1 << 2 | 1 << 3  # execute, read file, read dir
FILE_ONLY = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15
IOCTL_DEVICE = 1 << 15
SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib64"),
    *("/etc/ld.so.cache", "/etc/alternatives", "/etc/ssl/certs", "/etc/ssl/openssl.cnf"),
)
DEVICES = {"/dev/null": 1 << 1 | 1 << 2, "/dev/zero": 1 << 2, "/dev/urandom": 1 << 2, "/dev/random": 1 << 2}
NETWORK = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/ssl")


def main() -> NoReturn:
    order_fd, status_fd = int(sys.argv[1]), int(sys.argv[2])
    with os.fdopen(order_fd, "rb") as file:
        order = json.load(file)
    os.set_inheritable(status_fd, False)
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, stop)
    LIBC.prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != order["parent"]:  # it was gone before we asked to be told
        stop()
    failed, failed_inside = os.pipe()  # closed by a successful exec
    child = os.fork()
    if child == 0:
        become_the_command(order, failed_inside)
    os.close(failed_inside)
    code = wait_for(child)
    end_descendants()
    if why := os.read(failed, 4096):
        os.write(2, why)
    else:
        os.write(status_fd, str(code).encode())
    os._exit(0)


def wait_for(child: int) -> int:
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def stop(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end_descendants()
    os._exit(143)


def end_descendants() -> None:
    """As subreaper every orphan becomes our child. First stop them all: a stopped fork bomb keeps its places and cannot grow again."""
    for _ in range(1000):
        found: set[int] = set()
        while new := descendants() - found:
            send(new, signal.SIGSTOP)
            found |= new
        send(found, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.002)


def send(pids: set[int], what: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, what)
        except OSError:
            pass


def descendants() -> set[int]:
    parents = {}
    for pid, stat in each_process("stat"):
        parents[pid] = int(stat.rsplit(b")", 1)[1].split()[1])
    ours, known = {os.getpid()}, 0
    while len(ours) != known:
        known = len(ours)
        ours |= {pid for pid, parent in parents.items() if parent in ours}
    return ours - {os.getpid()}


def each_process(what: str) -> list[tuple[int, bytes]]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/{what}", "rb") as file:
                    found.append((int(name), file.read()))
            except OSError:
                pass
    return found


def become_the_command(order: dict[str, Any], failed: int) -> NoReturn:
    try:
        for name in (
            signal.SIGTERM,
            signal.SIGPIPE,
            signal.SIGXFSZ,
        ):  # Python ignores the latter two, and exec would keep that
            signal.signal(name, signal.SIG_DFL)
        os.setsid()
        os.chdir(order["cwd"])
        limit = order["processes"] + (threads_of_this_user() if order["shared_user"] else 1)
        resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
        LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        restrict_files(order)
        restrict_calls(bytes.fromhex(order["seccomp"]))
        argv = ["bash", "-c", '/bin/bash -c "$1"; exit $?', "sandbox", order["script"]]
        os.execve("/bin/bash", argv, order["env"])  # noqa: S606 - the shell is the point
    except BaseException as error:  # noqa: BLE001 - whatever it is, the child must not go on as a second supervisor
        os.write(failed, f"landlock: {error}\n".encode())
        os._exit(126)


def threads_of_this_user() -> int:
    """Without a namespace the limit counts all that this user runs, so what runs already is added to it."""
    mine = b"\nUid:\t%d\t" % os.getuid()
    statuses = [status for _, status in each_process("status") if mine in status]
    return sum(int(status.split(b"\nThreads:\t", 1)[1].split(b"\n", 1)[0]) for status in statuses)


# ---- files


def restrict_files(order: dict[str, Any]) -> None:
    version = LIBC.syscall(CREATE, None, ctypes.c_size_t(0), 1)
    if version < 1:
        raise OSError(ctypes.get_errno(), "this kernel has no Landlock")
    handled = (1 << (13 if version == 1 else 14 if version == 2 else 15 if version < 5 else 16)) - 1
    network = 3 if version >= 4 and not order["internet"] else 0
    scoped = 3 if version >= 6 else 0
    attributes = struct.pack("QQQ", handled, network, scoped)[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = LIBC.syscall(CREATE, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        raise OSError(ctypes.get_errno(), "landlock_create_ruleset")
    for path in (*SYSTEM, *order["read"], *(NETWORK if order["internet"] else ())):
        allow(ruleset, path, READ & handled)
    for path, rights in DEVICES.items():
        allow(ruleset, path, rights & handled)
    for path in order["write"]:
        allow(ruleset, path, handled & ~IOCTL_DEVICE)
    if LIBC.syscall(RESTRICT, ruleset, 0):
        raise OSError(ctypes.get_errno(), "landlock_restrict_self")
    os.close(ruleset)


def allow(ruleset: int, path: str, rights: int) -> None:
    """What this host does not have needs no rule."""
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not os.path.isdir(path):
        rights &= FILE_ONLY
    if LIBC.syscall(ADD, ruleset, 1, struct.pack("=Qi", rights, fd), 0):
        raise OSError(ctypes.get_errno(), f"landlock_add_rule {path}")
    os.close(fd)


# ---- system calls


def restrict_calls(program: bytes) -> None:
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    if LIBC.prctl(PR_SET_SECCOMP, 2, header, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


if __name__ == "__main__":
    main()
